package e2e

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sidecar/admin"
	"sidecar/upstream"
)

// A sidecar is a running one. Its admin interface is a unix socket, and its listeners are on
// ports that the system chooses: no two tests can get in each other's way.
type sidecar struct {
	*process
	*admin.Client
	checked bool // its end was what the test is about
}

// folder is a new one whose path is short, and which others may look into.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "") //nolint:usetesting // because t.TempDir has the test's name in its path, which is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start runs a sidecar with a configuration, and returns when it answers.
func start(t *testing.T, config string, env ...string) *sidecar {
	t.Helper()
	cmd, address := prepare(t, config, env...)
	return startCommand(t, cmd, address)
}

// serving is start, and returns when the instances of every service are known.
func serving(t *testing.T, config string, env ...string) *sidecar {
	t.Helper()
	s := start(t, config, env...)
	s.waitReady()
	return s
}

// prepare is the command that start runs, and the address of its admin interface.
func prepare(t *testing.T, config string, env ...string) (cmd *exec.Cmd, address string) {
	t.Helper()
	dir := folder(t)
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address = "unix:" + filepath.Join(dir, "admin")
	cmd = exec.Command(binary(), "run", "--config", file)
	cmd.Env = environment(append([]string{"SIDECAR_ADMIN_LISTEN=" + address}, env...)...)
	return cmd, address
}

func startCommand(t *testing.T, cmd *exec.Cmd, address string) *sidecar {
	t.Helper()
	s := &sidecar{process: launch(t, cmd), Client: &admin.Client{Address: address}}
	t.Cleanup(func() { s.checkEnd(t) })
	within(t, patience, "the sidecar answers", func() bool {
		if s.ended() {
			t.Fatalf("the sidecar has ended:\n%s", &s.err)
		}
		_, err := s.Status(t.Context())
		return err == nil
	})
	return s
}

// checkEnd ends the sidecar as its user would, and looks at what it leaves: everything that
// the test has opened is closed by now, so there is nothing to wait for and nothing to cut.
func (s *sidecar) checkEnd(t *testing.T) {
	if !s.checked && !s.ended() {
		s.signal(syscall.SIGTERM)
	}
	end := s.wait()
	log := s.err.String()
	if !s.checked && end.ExitCode() != 0 {
		t.Errorf("the sidecar ended with %v, want exit status 0", end)
	}
	for _, bad := range []string{"DATA RACE", "panic", "goroutine "} {
		if strings.Contains(log, bad) {
			t.Errorf("the log has %q", bad)
		}
	}
	if t.Failed() {
		t.Logf("log of the sidecar:\n%s", log[max(0, len(log)-16<<10):])
	}
}

// document is what it says of itself.
func (s *sidecar) document() *admin.Document {
	s.t.Helper()
	d, err := s.Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// address is where it listens for a service.
func (s *sidecar) address(service string) string {
	s.t.Helper()
	for _, l := range s.document().Listeners {
		if l.Service == service {
			return l.Address
		}
	}
	s.t.Fatalf("no listener for %q", service)
	return ""
}

// service is what it knows of a service.
func (s *sidecar) service(name string) *admin.Service {
	s.t.Helper()
	d := s.document()
	for i := range d.Services {
		if d.Services[i].Service == name {
			return &d.Services[i]
		}
	}
	s.t.Fatalf("no service %q in the status", name)
	return nil
}

// endpoint is how an address of a service stands; the zero value if it is not there.
func (s *sidecar) endpoint(service, address string) upstream.EndpointStatus {
	s.t.Helper()
	for _, e := range s.service(service).Endpoints {
		if e.Address == address {
			return e
		}
	}
	return upstream.EndpointStatus{}
}

// waitReady waits until it knows the instances of every service.
func (s *sidecar) waitReady() {
	s.t.Helper()
	within(s.t, patience, "the sidecar is ready", func() bool {
		r, err := s.Ready(s.t.Context())
		return err == nil && r.Ready
	})
}

// waitTotal waits until a service has n instances.
func (s *sidecar) waitTotal(service string, n int) {
	s.t.Helper()
	within(s.t, patience, fmt.Sprintf("%s has %d instances", service, n), func() bool { return s.service(service).Total == n })
}

// static is the configuration of a service with fixed instances; more are lines in its table.
func static(name, more string, addresses ...string) string {
	return fmt.Sprintf(`
[[service]]
name = %q
listen = "127.0.0.1:0"
discovery = { source = "static", instances = ["%s"] }
%s
`, name, strings.Join(addresses, `", "`), more)
}

// A result is what a command line came to.
type result struct {
	code        int
	out, stderr string
}

// command runs a command line to its end, in a folder, or in an empty one if dir is empty.
func command(t *testing.T, dir string, env []string, args ...string) result {
	t.Helper()
	cmd := exec.Command(binary(), args...)
	cmd.Dir, cmd.Env = cmp.Or(dir, t.TempDir()), environment(env...)
	p := launch(t, cmd)
	code := p.wait().ExitCode()
	return result{code, p.out.String(), p.err.String()}
}
