package main

import (
	"strings"
	"testing"

	"sidecar/admin"
)

// hostileName is what a registry may call an instance: it sets the terminal's title and colour, by
// controls of both kinds (ECMA-48 C0, C1), and begins a line of its own.
const hostileName = "x\x1b]0;owned\x07\u009b31m\nsidecar: all is well"

func TestNothingOfARegistryIsACommandToTheTerminal(t *testing.T) {
	at := answering(t, admin.Options{
		Actions: true, Endpoint: func(_, _, _ string) error { return nil },
		Status: func() admin.Document {
			d := document()
			d.Services[0].Endpoints[0].ID, d.Services[0].Endpoints[1].ID = hostileName, hostileName+"2"
			d.Services[0].Unavailable, d.Services[0].Verdict = "no: "+hostileName, hostileName
			d.Readiness.Ready = true
			return d
		},
	})
	for _, args := range [][]string{
		{"status", "--check"}, {"explain", "orders", "--check"}, {"drain", "orders", "10.0.0.1:80"}, {"drain", "orders", "10.0.0.2:80"},
		{"status", "--json"}, {"explain", "orders", "--json"}, {"__complete", "drain"},
	} {
		line := append(args, "--admin", at)
		if args[0] == "__complete" {
			line = append(line, "orders", "x")
		}
		_, out, said := sidecar(line...)
		if i := strings.IndexAny(out+said, "\x1b\u009b\x07"); i >= 0 {
			t.Errorf("%q writes %q", args, (out + said)[max(0, i-20):])
		}
	}
}

func TestUndrainTellsWhatHasFailed(t *testing.T) {
	at := answering(t, admin.Options{Status: document, Endpoint: func(_, _, _ string) error { return nil }})
	if status, _, said := sidecar("undrain", "orders", "gone", "--admin", at); status != exitFailed || !strings.Contains(said, "actions are off") {
		t.Errorf("exit status %d, %q", status, said)
	}
}

func TestAnEndpointMayBeCalledAsAFolderAbove(t *testing.T) {
	var asked []string
	at := answering(t, admin.Options{
		Actions:  true,
		Endpoint: func(service, id, action string) error { asked = append(asked, service, id, action); return nil },
		Status: func() admin.Document {
			d := document()
			d.Services[0].Endpoints[0].ID = ".."
			return d
		},
	})
	if status, _, said := sidecar("drain", "orders", "..", "--admin", at); status != exitOK || strings.Join(asked, " ") != "orders .. drain" {
		t.Errorf("exit status %d, %q, asked %q", status, said, asked)
	}
}
