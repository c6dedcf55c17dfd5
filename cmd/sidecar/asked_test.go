package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"sidecar/admin"
	"sidecar/upstream"
)

// answering answers as a sidecar with these options does, and returns its address: that of a port, or
// of a socket when o says so.
func answering(t *testing.T, o admin.Options) string {
	t.Helper()
	if o.Listen == "" {
		o.Listen = anyPort
	}
	server := admin.New(o)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return server.Address()
}

// document has service orders with three endpoints, of which two are at one address.
func document() admin.Document {
	s := admin.Service{Policy: "p2c", SourceKind: "static"}
	s.Status = upstream.Status{Service: "orders", Total: 3, Usable: 3, Verdict: "3 of 3 endpoints take their share of the traffic"}
	for _, e := range [][2]string{{"a", "10.0.0.1:80"}, {"b", "10.0.0.2:80"}, {"c", "10.0.0.2:80"}} {
		s.Endpoints = append(s.Endpoints, upstream.EndpointStatus{ID: e[0], Address: e[1], State: upstream.StateUsable, Breaker: "closed"})
	}
	return admin.Document{PID: 77, Services: []admin.Service{s}, Listeners: []admin.Listener{{Service: "orders", Active: 12}}}
}

// An operator notes what it was asked to do.
type operator struct {
	mu   sync.Mutex
	done []string
}

func (o *operator) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = append(o.done, what)
}

func (o *operator) options() admin.Options {
	return admin.Options{
		Actions: true,
		Status:  document,
		Drain:   func() { o.note("drain") },
		Endpoint: func(service, id, action string) error {
			o.note(action + " " + service + " " + id)
			if id == "gone" || strings.HasPrefix(id, "a") || id == "b" {
				return nil
			}
			return upstream.ErrNoEndpoint
		},
	}
}

// wantCommand runs a command line and checks how it ends and what it says; texts are parts.
func wantCommand(t *testing.T, status int, out, said string, args ...string) {
	t.Helper()
	gotStatus, gotOut, gotSaid := sidecar(args...)
	if gotStatus != status || !strings.Contains(gotOut, out) || !strings.Contains(gotSaid, said) || out == "" && gotOut != "" || said == "" && gotSaid != "" {
		t.Errorf("%q: exit status %d\n%s%s\nwant %d\n%s%s", args, gotStatus, gotOut, gotSaid, status, out, said)
	}
}

func TestReloadSaysWhatHasChanged(t *testing.T) {
	report, failure := admin.Report{Changed: []string{"log.level: info → debug"}, Restart: []string{"runtime.loops: 0 → 2"}}, error(nil)
	address := answering(t, admin.Options{Reload: func(context.Context) (admin.Report, error) { return report, failure }})
	const both = "changed:\n  log.level: info → debug\ntakes effect only when the sidecar is started again:\n  runtime.loops: 0 → 2\n"
	wantCommand(t, 0, both, "", "reload", "--admin", address)
	_, out, _ := sidecar("reload", "--json", "--admin", address)
	var got admin.Report
	if err := json.Unmarshal([]byte(out), &got); err != nil || !reflect.DeepEqual(got, report) {
		t.Errorf("%s: %v", out, err)
	}
	report = admin.Report{}
	wantCommand(t, 0, "nothing differs from what is running\n", "", "reload", "--admin", address)
	failure = errors.New("config.toml:3: log.levl: unknown key\nconfig.toml:4: wrong as well")
	wantCommand(t, 1, "", "sidecar: config.toml:3: log.levl: unknown key\nconfig.toml:4: wrong as well\n", "reload", "--admin", address)
}

func TestCheckAgainstRunning(t *testing.T) {
	asUser(t, map[string]string{"new.toml": orders})
	address := answering(t, admin.Options{Diff: func(toml []byte) (admin.Report, error) {
		if string(toml) != orders {
			return admin.Report{}, errors.New("another file was sent")
		}
		return admin.Report{Changed: []string{"service orders: added, http on 127.0.0.1:17001"}}, nil
	}})
	wantCommand(t, 0, "would change:\n  service orders: added, http on 127.0.0.1:17001\n", "", "check", "-c", "new.toml", "--against-running", "--admin", address)
	wantCommand(t, 1, "", "none.toml: no such file or directory; check the path", "check", "-c", "none.toml", "--against-running", "--admin", address)
	wantCommand(t, 2, "", "name it with --config", "check", "--against-running", "--admin", address)
}

func TestDrainIsNotDoneByMistake(t *testing.T) {
	var o operator
	address := answering(t, o.options())
	wantCommand(t, 2, "", "there is no terminal to ask on: say --yes", "drain", "--admin", address)
	if o.done != nil {
		t.Errorf("done: %q", o.done)
	}
	wantCommand(t, 0, "it drains, and ends when", "", "drain", "--yes", "--admin", address)
	if !reflect.DeepEqual(o.done, []string{"drain"}) {
		t.Errorf("done: %q", o.done)
	}
	draining := o.options()
	draining.Status = func() admin.Document { return admin.Document{Draining: true} }
	wantCommand(t, 0, "it drains already\n", "", "drain", "--admin", answering(t, draining))
	forbidden := o.options()
	forbidden.Actions = false
	wantCommand(t, 1, "", "sidecar: actions are off on this address: set admin.actions = true, or set admin.listen to a unix socket", "drain", "--yes", "--admin", answering(t, forbidden))
	forbidden.Listen = "unix:" + filepath.Join(t.TempDir(), "admin")
	wantCommand(t, 0, "it drains", "", "drain", "--yes", "--admin", answering(t, forbidden))
}

func TestEndpointsAreNamedByIDOrAddress(t *testing.T) {
	var o operator
	address := answering(t, o.options())
	wantCommand(t, 0, "endpoint a of service orders gets no more traffic; what runs goes on\n", "", "drain", "orders", "10.0.0.1:80", "--admin", address)
	wantCommand(t, 0, "endpoint a of service orders may get traffic again\n", "", "undrain", "orders", "a", "--admin", address)
	wantCommand(t, 0, "endpoint b of service orders is no longer ejected\n", "", "uneject", "orders", "b", "--admin", address)
	wantCommand(t, 0, "endpoint gone of service orders may get traffic again\n", "", "undrain", "orders", "gone", "--admin", address)
	if want := []string{"drain orders a", "undrain orders a", "uneject orders b", "undrain orders gone"}; !reflect.DeepEqual(o.done, want) {
		t.Errorf("done: %q", o.done)
	}
	wantCommand(t, 1, "", "service orders has 2 endpoints at 10.0.0.2:80: name one of them by its ID: b, c", "drain", "orders", "10.0.0.2:80", "--admin", address)
	const those = `service orders has no endpoint "x"; those it has: a (10.0.0.1:80), b (10.0.0.2:80), c (10.0.0.2:80)` + "\n"
	wantCommand(t, 1, "", those, "drain", "orders", "x", "--admin", address)
	wantCommand(t, 1, "", those, "undrain", "orders", "x", "--admin", address)
	wantCommand(t, 1, "", `there is no service "order"; did you mean "orders"?`, "uneject", "order", "a", "--admin", address)
	wantCommand(t, 2, "", `takes SERVICE and ENDPOINT, and got ["orders"]; see "sidecar drain --help"`, "drain", "orders", "--admin", address)
	wantCommand(t, 3, "", "no sidecar answers on unix:/none/admin", "drain", "orders", "a", "--admin", "unix:/none/admin")
}

func TestConfigTellsOrigins(t *testing.T) {
	asUser(t, map[string]string{"good.toml": "[consul]\ntoken = \"geheim\"\n" + orders + "timeout.request = \"5s\"\n"})
	t.Setenv("SIDECAR_DEFAULTS_TIMEOUT_CONNECT", "9s")
	wantCommand(t, 0, "service orders: timeout.request", "", "config", "-c", "good.toml")
	const want = `consul.token                     "<hidden>"         good.toml:2
service orders: name             "orders"           good.toml:4
service orders: listen           "127.0.0.1:17001"  good.toml:5
service orders: timeout.connect  "9s"               env SIDECAR_DEFAULTS_TIMEOUT_CONNECT
service orders: timeout.request  "5s"               good.toml:6
`
	if status, out, said := sidecar("config", "--set", "-c", "good.toml"); status != 0 || out != want || said != "" {
		t.Errorf("%d\n%s%s", status, out, said)
	}
	wantCommand(t, 0, `service orders: discovery.service  "orders"  derived`, "", "config", "discovery.service", "-c", "good.toml")
	wantCommand(t, 0, "[]\n", "", "config", "no such key", "-c", "good.toml", "--json")
	wantCommand(t, 1, "", "none.toml: there is no such file", "config", "-c", "none.toml")
	wantCommand(t, 2, "", "leave --config away", "config", "-c", "good.toml", "--running")
	wantCommand(t, 2, "", "ask one of them", "check", "-c", "good.toml", "--print", "--against-running")

	values := []admin.ConfigValue{{Key: "log.level", Value: `"debug"`, Origin: "config.toml:2"}}
	o := admin.Options{Config: func() ([]byte, error) { return nil, nil }, Origins: func() []admin.ConfigValue { return values }}
	address := answering(t, o)
	wantCommand(t, 0, "log.level  \"debug\"  config.toml:2\n", "", "config", "--running", "--admin", address)
	_, out, _ := sidecar("config", "--running", "--json", "--admin", address)
	var got []admin.ConfigValue
	if err := json.Unmarshal([]byte(out), &got); err != nil || !reflect.DeepEqual(got, values) {
		t.Errorf("%s: %v", out, err)
	}
}

func TestCheckTurnsWhatIsWrongIntoAnExitStatus(t *testing.T) {
	doc := document()
	var missing []string
	o := admin.Options{Status: func() admin.Document { return doc }, Ready: func() []string { return missing }}
	address := answering(t, o)
	wantCommand(t, 0, "ready", "", "status", "--check", "--admin", address)
	wantCommand(t, 0, "orders: ", "", "explain", "--check", "--admin", address)
	missing = []string{"orders: no instances"}
	wantCommand(t, 4, "not ready", "sidecar: the sidecar is not ready\n  missing: orders: no instances\n", "status", "--check", "--admin", address)
	wantCommand(t, 0, "not ready", "", "status", "--admin", address)
	missing = nil
	doc.Services[0].Unavailable = "no endpoint is usable"
	doc.Services[0].Verdict = "unavailable: no endpoint is usable"
	wantCommand(t, 4, "orders", `sidecar: service orders: nothing is served: no endpoint is usable; see "sidecar explain orders"`, "status", "--check", "--json", "--admin", address)
	wantCommand(t, 4, "orders: unavailable", "sidecar: service orders: unavailable: no endpoint is usable\n", "explain", "--check", "--admin", address)
	doc.Draining = true
	wantCommand(t, 4, "draining", "the sidecar drains, and is about to end", "status", "--check", "--admin", address)
}

func TestWhereItIsAskedMayComeFromTheEnvironment(t *testing.T) {
	address := running(t, "orders")
	t.Setenv("SIDECAR_ADMIN_LISTEN", address)
	wantCommand(t, 0, "orders", "", "status")
	wantCommand(t, 3, "", "unix:/none/admin", "status", "--admin", "unix:/none/admin")
	t.Setenv("SIDECAR_ADMIN_LISTEN", "unix:/none/other")
	wantCommand(t, 3, "", "unix:/none/other", "status")
}

func TestNamesAreCompleted(t *testing.T) {
	var o operator
	address := answering(t, o.options())
	const service = "orders\t3 of 3 endpoints take their share of the traffic\n:4\n"
	for line, want := range map[string]string{
		"explain or":                service,
		"explain x":                 ":4\n",
		"explain orders o":          ":4\n",
		"top ":                      service,
		"tap ":                      service,
		"drain ":                    service,
		"undrain orders a":          "a\n:4\n",
		"uneject orders 10.0.0.2":   "10.0.0.2:80\n10.0.0.2:80\n:4\n",
		"uneject orders a b":        ":4\n",
		"tap orders --endpoint b":   "b\n:4\n",
		"status --color a":          "auto\nalways\nnever\n:4\n",
		"top --sort in":             "requests\nerrors\nlatency\nin-flight\nname\n:4\n",
		"drain nothing-of-the-kind": ":4\n",
	} {
		args := strings.Split(line, " ")
		args = append([]string{"__complete", args[0], "--admin", address}, args[1:]...)
		if _, out, _ := sidecar(args...); out != want {
			t.Errorf("%s<Tab>:\n%swant\n%s", line, out, want)
		}
		// Whoever completes does not want to read why nothing comes.
		args[3] = "unix:/none/admin"
		if status, _, said := sidecar(args...); status != 0 || strings.Contains(said, "answers") {
			t.Errorf("%s<Tab> without a sidecar: %d %s", line, status, said)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		wantCommand(t, 0, "sidecar", "", "completion", shell)
	}
}

// The table of exit statuses is an interface: help and documentation have it.
func TestExitStatusesAreDocumented(t *testing.T) {
	_, help, _ := sidecar("help", "exit-codes")
	doc, err := os.ReadFile("../../docs/commandline.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []string{"0", "1", "2", "3", "4"} {
		if !strings.Contains(help, "\n  "+status+"  ") || !strings.Contains(string(doc), "| "+status+" | ") {
			t.Errorf("%s is not documented", status)
		}
	}
}

// Every command has its help, and docs/commandline.md names it.
func TestEveryCommandIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/commandline.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range newRoot().Commands() {
		if cmd.Name() == "help" {
			continue
		}
		if !strings.Contains(string(doc), "sidecar "+cmd.Name()) && !strings.Contains(string(doc), "help "+cmd.Name()) {
			t.Errorf("docs/commandline.md has no %q", cmd.Name())
		}
		if cmd.Runnable() && cmd.Name() != "version" && (cmd.Long == "" || cmd.Example == "" && cmd.Name() != "demo") {
			t.Errorf("%s has no long help or no example", cmd.Name())
		}
		for line := range strings.Lines(cmd.Long) {
			if len(strings.TrimSuffix(line, "\n")) > 96 {
				t.Errorf("%s: a line of the help is longer than a terminal: %s", cmd.Name(), line)
			}
		}
	}
}
