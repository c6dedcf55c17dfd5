package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asUser makes a folder the current one, with these files in it, and clears what of the
// environment the sidecar would read.
func asUser(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "SIDECAR_") || strings.HasPrefix(name, "CONSUL_") {
			t.Setenv(name, "") // has it set again afterwards
			os.Unsetenv(name)
		}
	}
}

// sidecar runs a command line.
func sidecar(args ...string) (status int, out, said string) {
	var stdout, stderr bytes.Buffer
	status = main1(args, &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

const orders = "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:17001\"\n"

// The real binary is started by the tests of internal/e2e; here is what needs none.
func TestCommandLines(t *testing.T) {
	asUser(t, map[string]string{
		"good.toml":  orders,
		"two.toml":   orders + "[[service]]\nname = \"stock\"\nlisten = \"127.0.0.1:17002\"\n",
		"bad.toml":   orders + "protcol = \"tcp\"\n[service.retry]\nattempts = -1\n",
		"empty.toml": "",
		"only.toml":  "[[register]]\nname = \"app\"\nport = 8080\n",
	})
	const nothing = "sidecar: nothing to serve: the configuration has no [[service]]; the smallest useful file is\n\n" +
		"[[service]]\nname   = \"orders\"\nlisten = \"127.0.0.1:7001\"\n"
	const mistakes = `bad.toml:4: service "orders": protcol: unknown key; did you mean "protocol"?` + "\n" +
		`bad.toml:6: service "orders": retry.attempts: `
	for _, tt := range []struct {
		line      string
		status    int
		out, said string // how they begin; empty: nothing is written
	}{
		{"", 0, "A sidecar proxy: ", ""},
		{"help", 0, "A sidecar proxy: ", ""},
		{"help run", 0, "Serves what the configuration says.", ""},
		{"version", 0, "sidecar devel (", ""},
		{"check -c good.toml", 0, "good.toml is good: 1 service\n", ""},
		{"check --config=two.toml", 0, "two.toml is good: 2 services\n", ""},
		{"check -c only.toml", 0, "only.toml is good: 0 services, 1 announcement\n", ""},
		{"check -c good.toml --print", 0, "[admin]\nlisten = ", ""},
		{"check -c bad.toml", 1, "", mistakes},
		{"check -c bad.toml --print", 1, "", mistakes},
		{"run -c bad.toml", 1, "", mistakes},
		{"check -c empty.toml", 1, "", nothing},
		{"run -c empty.toml", 1, "", nothing},
		{"check", 1, "", nothing},
		{"run", 1, "", nothing},
		{"check -c none.toml", 1, "", "none.toml: there is no such file"},
		{"run -c .", 1, "", ".: is a folder"},
		{"status --admin nonsense", 2, "", `sidecar: "nonsense" is no address`},
		{"status --admin unix:/none/admin", 3, "", "sidecar: no sidecar answers on unix:/none/admin"},
		{"explain orders --admin nonsense", 2, "", `sidecar: "nonsense" is no address`},
		{"explain orders --admin unix:/none/admin", 3, "", "sidecar: no sidecar answers on unix:/none/admin"},
		{"explain --admin unix:/none/admin", 3, "", "sidecar: no sidecar answers on unix:/none/admin"},
		{"help explain", 0, "Asks a running sidecar over its admin interface how a service stands", ""},

		{"chek", 2, "", `sidecar: unknown command "chek"; did you mean "check"?; see "sidecar --help"` + "\n"},
		{"explode", 2, "", `sidecar: unknown command "explode"; see "sidecar --help"` + "\n"},
		{"good.toml", 2, "", `sidecar: unknown command "good.toml"; see "sidecar --help"` + "\n"},
		{"--config good.toml", 2, "", `sidecar: unknown flag: --config; see "sidecar --help"` + "\n"},
		{"check good.toml", 2, "", `sidecar: check takes no arguments, and got "good.toml"; see "sidecar check --help"` + "\n"},
		{"explain orders mail", 2, "", `sidecar: explain takes one service, and got ["orders" "mail"]; see "sidecar explain --help"` + "\n"},
		{"run -c", 2, "", "sidecar: flag needs an argument: 'c' in -c; see \"sidecar run --help\"\n"},
		{"demo --every never", 2, "", `sidecar: invalid argument "never" for "--every" flag: want a time such as 500ms or 5s; see "sidecar demo --help"`},
		{"tap --rate many", 2, "", `sidecar: invalid argument "many" for "--rate" flag: want a whole number; see "sidecar tap --help"`},
		{"tap --rate 99999999999999999999", 2, "", `sidecar: invalid argument "99999999999999999999" for "--rate" flag: want a whole number, and a smaller one; see`},
		{"status --json=maybe", 2, "", `sidecar: invalid argument "maybe" for "--json" flag: want true or false; see "sidecar status --help"`},
		{"help chek", 2, "", `sidecar: there is no help about "chek"; did you mean "check"?; see "sidecar --help"` + "\n"},
		{"help completion bash", 0, "Writes the completions", ""},
		{"help exit-codes", 0, "What the exit status of a command says:", ""},
		{"exit-codes", 0, "What the exit status of a command says:", ""},
		{"completion", 2, "", `sidecar: completion takes the name of one shell: bash, zsh, fish or powershell; see "sidecar completion --help"` + "\n"},
		{"completion ksh", 2, "", `sidecar: completion takes the name of one shell: bash, zsh, fish or powershell; see`},
		{"completion bash", 0, "# bash completion", ""},
		{"completion zsh", 0, "#compdef sidecar", ""},
		{"completion fish", 0, "# fish completion for sidecar", ""},
		{"completion powershell", 0, "# powershell completion for sidecar", ""},
		{"demo --http here --tcp there --admin where", 2, "", `sidecar: --`},
	} {
		status, out, said := sidecar(strings.Fields(tt.line)...)
		if status != tt.status {
			t.Errorf("%q: exit status %d, want %d", tt.line, status, tt.status)
		}
		for _, c := range [][2]string{{out, tt.out}, {said, tt.said}} {
			if c[1] == "" && c[0] != "" || !strings.HasPrefix(c[0], c[1]) {
				t.Errorf("%q\nwrites %q\nwant   %q", tt.line, c[0], c[1])
			}
		}
	}
}

func TestTheEnvironmentIsPartOfTheConfiguration(t *testing.T) {
	asUser(t, map[string]string{"good.toml": orders})
	t.Setenv("SIDECAR_SERVICE_STOCK_LISTEN", "127.0.0.1:17002")
	if status, out, said := sidecar("check"); status != 0 || out != "the environment is good: 1 service\n" {
		t.Errorf("%d %s%s", status, out, said)
	}
	if status, out, said := sidecar("check", "-c", "good.toml"); status != 0 || out != "good.toml is good: 2 services\n" {
		t.Errorf("%d %s%s", status, out, said)
	}
	t.Setenv("SIDECAR_SERVICE_STOCK_PROTOCOL", "tpc")
	status, _, said := sidecar("check", "-c", "good.toml")
	if status != 1 || !strings.HasPrefix(said, "SIDECAR_SERVICE_STOCK_PROTOCOL: ") || !strings.Contains(said, `did you mean "tcp"?`) {
		t.Errorf("%d %s", status, said)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	asUser(t, map[string]string{"good.toml": orders})
	t.Setenv("CONSUL_HTTP_TOKEN", "5ef9e5bb")
	status, out, _ := sidecar("check", "-c", "good.toml", "--print")
	if status != 0 || strings.Contains(out, "5ef9e5bb") || !strings.Contains(out, "\ntoken = \"") {
		t.Errorf("%d\n%s", status, out)
	}
}
