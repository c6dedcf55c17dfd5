package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// write makes a file in a folder of its own and returns the folder.
func write(t *testing.T, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantLines checks that a text has a line for each of want, in that order, and no other; a
// line matches if it has all the parts that are separated by " … ".
func wantLines(t *testing.T, text string, want ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d:\n%s", len(lines), len(want), text)
		return
	}
	for i, line := range lines {
		for part := range strings.SplitSeq(want[i], " … ") {
			if !strings.Contains(line, part) {
				t.Errorf("line %d is %q, want %q in it", i+1, line, part)
			}
		}
	}
}

// wantNoTrace checks that nothing of our insides is shown to the user.
func wantNoTrace(t *testing.T, r result) {
	t.Helper()
	for _, trace := range []string{"goroutine ", "panic", ".go:"} {
		if strings.Contains(r.out+r.stderr, trace) {
			t.Errorf("%q in what is said:\n%s%s", trace, r.out, r.stderr)
		}
	}
}

const manyMistakes = `[[service]]
name   = "orders"
listen = "127.0.0.1:17001"
  [service.retry]
  atempts = 3
  [service.balancer]
  policy = "p2b"
  [service.timeout]
  connect = "-1s"

[[service]]
name   = "billing"
listen = "127.0.0.1:17001"

[[service]]
name   = "stock"
listen = "127.0.0.1:70000"

[consle]
address = "127.0.0.1:8500"
`

func TestCheckAndRunSayEveryMistake(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file string
		env        []string
		want       []string
	}{
		{"many", manyMistakes, []string{"SIDECAR_LOG_LEVL=debug"}, []string{
			`config.toml:5: … "orders" … retry.atempts … unknown key; did you mean "attempts"?`,
			`config.toml:7: … "orders" … balancer.policy … "p2b" … did you mean "p2c"?`,
			`config.toml:9: … "orders" … timeout.connect … "-1s" is negative`,
			`config.toml:13: … "billing" … listen … 127.0.0.1:17001 … "orders" … line 3`,
			`config.toml:17: … "stock" … listen … 70000`,
			`config.toml:19: … consle … unknown key; did you mean "consul"?`,
			`SIDECAR_LOG_LEVL: … did you mean "SIDECAR_LOG_LEVEL"?`,
		}},
		{"no TOML", "[[service]\nname = \"orders\"\n", nil, []string{"config.toml:1:"}},
		{"no service", "[log]\nlevel = \"debug\"\n", nil, []string{"nothing to serve", "", "[[service]]", "name", "listen"}},
		{"no listen", "[[service]]\nname = \"orders\"\n", nil, []string{`config.toml:1: … "orders" … listen`}},
		{"no address", "[[service]]\nname = \"orders\"\nlisten = \"everywhere\"\n", nil, []string{`config.toml:3: … listen … "everywhere"`}},
		{"no duration", "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:0\"\ntimeout.request = \"soon\"\n", nil, []string{`config.toml:4: … timeout.request … "soon"`}},
		{"admin's own listener", "[admin]\nlisten = \"127.0.0.1:17001\"\n[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:17001\"\n", nil, []string{"127.0.0.1:17001 … admin"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, "config.toml", tt.file)
			check := command(t, dir, tt.env, "check", "--config", "config.toml")
			run := command(t, dir, tt.env, "run", "--config", "config.toml")
			if check.code != 1 || check.out != "" {
				t.Errorf("check exits with %d and writes %q to standard output", check.code, check.out)
			}
			wantLines(t, check.stderr, tt.want...)
			wantNoTrace(t, check)
			if run != check {
				t.Errorf("run says something else than check:\n%d %s%s", run.code, run.out, run.stderr)
			}
		})
	}
}

func TestCheckSaysThatAFileIsGood(t *testing.T) {
	t.Parallel()
	dir := write(t, "config.toml", "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:17001\"\n")
	if r := command(t, dir, nil, "check", "--config", "config.toml"); r != (result{0, "config.toml is good: 1 service\n", ""}) {
		t.Errorf("%+v", r)
	}
	r := command(t, dir, []string{"SIDECAR_CONSUL_TOKEN=5ef9e5bb", "SIDECAR_SERVICE_BILLING_LISTEN=127.0.0.1:17002"}, "check", "-c", "config.toml", "--print")
	if r.code != 0 || !strings.Contains(r.out, `name = "billing"`) || strings.Contains(r.out, "5ef9e5bb") {
		t.Errorf("%+v", r)
	}
	// What is printed is a configuration in its turn.
	dir = write(t, "again.toml", command(t, dir, nil, "check", "-c", "config.toml", "--print").out)
	if r := command(t, dir, nil, "check", "-c", "again.toml"); r.code != 0 {
		t.Errorf("what was printed is not good: %s", r.stderr)
	}
}

func TestAFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		"none.toml":        "none.toml: there is no such file",
		".":                ".: is a folder",
		"none/config.toml": "none/config.toml: there is no such file",
	} {
		for _, name := range []string{"check", "run"} {
			r := command(t, dir, nil, name, "--config", path)
			if r.code != 1 || r.out != "" {
				t.Errorf("%s %s: %+v", name, path, r)
			}
			wantLines(t, r.stderr, want)
		}
	}
}

// Root may read everything, so that this one is asked by somebody else.
func TestAFileThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t), "config.toml")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary(), "check", "--config", path)
	cmd.Dir, cmd.Env = "/", environment()
	uid := os.Getuid()
	if uid == 0 {
		uid = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	p := launch(t, cmd)
	if code := p.wait().ExitCode(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	wantLines(t, p.err.String(), fmt.Sprintf("%s: may not be read by uid %d", path, uid))
}

func TestAPortThatIsInUseIsNamed(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	_, port, _ := net.SplitHostPort(taken)
	for name, env := range map[string][]string{
		`service "orders" … ss -ltnp … listen`: {"SIDECAR_SERVICE_ORDERS_LISTEN=" + taken, "SIDECAR_ADMIN_LISTEN="},
		"admin.listen": {"SIDECAR_SERVICE_ORDERS_LISTEN=127.0.0.1:0", "SIDECAR_ADMIN_LISTEN=" + taken},
	} {
		r := command(t, "", env, "run")
		if r.code != 1 {
			t.Errorf("exit status %d", r.code)
		}
		var said []string // and not logged
		for line := range strings.Lines(r.stderr) {
			if !strings.HasPrefix(line, "{") {
				said = append(said, line)
			}
		}
		wantLines(t, strings.Join(said, ""), "sidecar: … "+port+" … in use … "+name)
		wantNoTrace(t, r)
	}
}

func TestStatusOfARunningSidecarAndOfNone(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	s := start(t, static("orders", "", o.address))
	s.waitReady()
	r := command(t, "", nil, "status", "--admin", s.Address)
	if r.code != 0 || r.stderr != "" || !strings.Contains(r.out, "orders (p2c): 1 of 1 endpoint usable") || !strings.Contains(r.out, o.address) {
		t.Errorf("%+v", r)
	}
	r = command(t, "", nil, "status", "--json", "--admin", s.Address)
	if r.code != 0 || !strings.HasPrefix(r.out, "{") || !strings.Contains(r.out, `"usable": 1`) {
		t.Errorf("%+v", r)
	}

	none := deadAddress(t)
	r = command(t, "", nil, "status", "--admin", none)
	if r.code != 3 || r.out != "" {
		t.Errorf("%+v", r)
	}
	wantLines(t, r.stderr, "sidecar: … no sidecar answers on "+none+" … is it running")
	r = command(t, "", nil, "status", "--admin", o.address)
	if r.code != 3 {
		t.Errorf("%+v", r)
	}
	wantLines(t, r.stderr, o.address+" is not a sidecar")
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "--help", "run --help", "check --help", "status --help", "demo --help", "version --help"} {
		r := command(t, "", nil, strings.Fields(line)...)
		if r.code != 0 || r.stderr != "" || !strings.Contains(r.out, "Usage:\n  sidecar") {
			t.Errorf("sidecar %s: %+v", line, r)
		}
	}
	if r := command(t, "", nil, "version"); r.code != 0 || !strings.HasPrefix(r.out, "sidecar ") || strings.Count(r.out, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	for line, want := range map[string]string{
		"stats":       `unknown command "stats"; did you mean "status"?; see "sidecar --help"`,
		"run orders":  `see "sidecar run --help"`,
		"run --confg": `unknown flag: --confg; see "sidecar run --help"`,
	} {
		r := command(t, "", nil, strings.Fields(line)...)
		if r.code != 2 || r.out != "" {
			t.Errorf("sidecar %s: %+v", line, r)
		}
		wantLines(t, r.stderr, "sidecar: … "+want)
	}
}
