package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

const uncoloured = `sidecar 1.2.3 (abc), go1.26: not ready, up 3h12m, pid 77
  missing: mail: down for now
  note: something

LISTENER        SERVICE  IN FLIGHT
127.0.0.1:7001  orders   0

orders (p2c): 1 of 2 endpoints usable; consul answered 2s ago
  ENDPOINT   STATE    VERDICT
  10.0.0.1   usable   -
  10.0.0.2   ejected  ejected for another 500ms: open
  10.0.0.3   drained  unusable
`

const coloured = `sidecar 1.2.3 (abc), go1.26: Rnot readyN, up 3h12m, pid 77
  RmissingN: mail: RdownN for now
  YnoteN: something

BLISTENER        SERVICE  IN FLIGHTN
127.0.0.1:7001  orders   0

orders (p2c): 1 of 2 endpoints usable; consul answered 2s ago
B  ENDPOINT   STATE    VERDICTN
  10.0.0.1   GusableN   -
  10.0.0.2   RejectedN  ejected for another 500ms: RopenN
  10.0.0.3   YdrainedN  unusable
`

func TestATableKeepsItsColumnsInColour(t *testing.T) {
	var out strings.Builder
	write := func(w io.Writer) error { _, err := io.WriteString(w, uncoloured); return err }
	if err := (painter{true}).table(&out, write); err != nil {
		t.Fatal(err)
	}
	marks := strings.NewReplacer(plain, "N", bold, "B", red, "R", green, "G", yellow, "Y")
	if got := marks.Replace(out.String()); got != coloured {
		t.Errorf("got\n%s\nwant\n%s", got, coloured)
	}
	out.Reset()
	if err := (painter{}).table(&out, write); err != nil || out.String() != uncoloured {
		t.Errorf("without colour: %v\n%s", err, out.String())
	}
}

func TestColourIsForTerminals(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	terminal := newPty(t)
	for _, tt := range []struct {
		when, noColor, term string
		out                 io.Writer
		on                  bool
	}{
		{"auto", "", "xterm", io.Discard, false},
		{"auto", "", "xterm", terminal.tty, true},
		{"auto", "1", "xterm", terminal.tty, false},
		{"auto", "", "dumb", terminal.tty, false},
		{"always", "1", "dumb", io.Discard, true},
		{"never", "", "xterm", terminal.tty, false},
	} {
		t.Setenv("NO_COLOR", tt.noColor)
		t.Setenv("TERM", tt.term)
		cmd := newStatus()
		cmd.SetOut(tt.out)
		if p, err := painterFor(tt.when, cmd); err != nil || p.on != tt.on {
			t.Errorf("%s", fmt.Sprint(tt.when, tt.noColor, tt.term, p, err))
		}
	}
	wantCommand(t, 2, "", `--color is auto, always or never, and not "blue"`, "status", "--color", "blue")
}
