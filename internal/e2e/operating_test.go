package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	watched "sidecar/tap"
	"sidecar/upstream"
)

// An operator looks at a sidecar, changes its file, and ends it, by the command line alone.
func TestASidecarIsOperatedByItsCommandLine(t *testing.T) {
	t.Parallel()
	a, b := serveOrigin(t, "a"), serveOrigin(t, "b")
	config := static("orders", "", a.address, b.address)
	s := serving(t, config)
	sidecar := func(code int, out, said string, args ...string) string {
		t.Helper()
		r := command(t, "", []string{"SIDECAR_ADMIN_LISTEN=" + s.Address}, args...)
		if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.stderr, said) || said == "" && r.stderr != "" {
			t.Errorf("sidecar %s: %+v, want %d, %q, %q", strings.Join(args, " "), r, code, out, said)
		}
		return r.out
	}

	sidecar(0, "service orders: name  \"orders\"  "+s.file()+":", "", "config", "--running", "orders: name")
	sidecar(0, "env SIDECAR_ADMIN_LISTEN", "", "config", "--running", "admin.listen")
	sidecar(0, "orders ", "", "top", "--once", "--interval", "200ms")
	sidecar(0, "ready", "", "status", "--check")

	s.rewrite(t, config+"timeout = { request = \"5s\" }\n")
	const change = "  service orders: timeout.request: 15s → 5s\n"
	sidecar(0, "would change:\n"+change, "", "check", "--against-running", "--config", s.file())
	sidecar(0, "service orders: timeout.request  \"15s\"  default\n", "", "config", "--running", "timeout.request")
	sidecar(0, "changed:\n"+change, "", "reload")
	sidecar(0, "nothing differs", "", "reload")
	sidecar(0, "service orders: timeout.request  \"5s\"  "+s.file()+":", "", "config", "--running", "timeout.request")

	state := func(want upstream.State) func() bool {
		return func() bool { return s.endpoint("orders", a.address).State == want }
	}
	sidecar(0, "gets no more traffic", "", "drain", "orders", a.address)
	within(t, patience, "the endpoint is drained", state(upstream.StateDrained))
	sidecar(0, "may get traffic again", "", "undrain", "orders", a.address)
	within(t, patience, "the endpoint is back", state(upstream.StateUsable))
	sidecar(1, "", `no endpoint "c"`, "uneject", "orders", "c")

	sidecar(2, "", "say --yes", "drain")
	sidecar(0, "it drains", "", "drain", "--yes")
	if end := s.wait(); end.ExitCode() != 0 {
		t.Errorf("it ends with %v", end)
	}
	sidecar(3, "", "no sidecar answers on "+s.Address, "status")
}

func TestRequestsAreTappedAsTheyPass(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "a")
	s := serving(t, static("orders", "", o.address))
	cmd := exec.Command(binary(), "tap", "orders", "--json", "--headers", "-n", "2", "--admin", s.Address)
	cmd.Env = environment()
	p := launch(t, cmd)
	c := connect(t, s.address("orders"))
	within(t, patience, "two requests are shown", func() bool {
		if a, err := c.get("/a?b=c"); err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
		return p.ended()
	})
	if p.wait().ExitCode() != 0 {
		t.Errorf("%v: %s", p.cmd.ProcessState, &p.err)
	}
	lines := strings.Split(strings.TrimSuffix(p.out.String(), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for _, line := range lines {
		var r watched.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if r.Method != "GET" || r.Target != "/a?b=c" || r.Status != http.StatusOK || r.Endpoint != o.address || r.Tries != 1 || r.Flag != "ok" || r.Client == "" {
			t.Errorf("%+v", r)
		}
		if len(r.RequestHeaders) == 0 || len(r.ResponseHeaders) == 0 {
			t.Errorf("header fields are missing: %+v", r)
		}
	}
}

// The socket's permissions decide who may ask: its owner and its group.
func TestWhoMayNotAskIsTold(t *testing.T) {
	t.Parallel()
	s := serving(t, static("orders", "", serveOrigin(t, "a").address))
	cmd := exec.Command(binary(), "status", "--admin", s.Address)
	cmd.Dir, cmd.Env = "/", environment()
	if os.Getuid() == 0 { // whom no permissions keep out
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else if err := os.Chmod(strings.TrimPrefix(s.Address, "unix:"), 0); err != nil {
		t.Fatal(err)
	}
	p := launch(t, cmd)
	if code := p.wait().ExitCode(); code != 3 {
		t.Errorf("exit status %d", code)
	}
	wantLines(t, p.err.String(), "sidecar: may not connect to "+s.Address+": permission denied; join the group that owns it, or ask as root")
	if err := os.Chmod(strings.TrimPrefix(s.Address, "unix:"), 0o660); err != nil {
		t.Fatal(err)
	}
}
