package admin

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"sidecar/upstream"
)

// WriteText prints a Document for people: what runs, what is missing, then each service with
// its source and its endpoints. What came from a registry is stripped of control characters,
// which could otherwise rewrite the reader's terminal. The error is w's.
func WriteText(w io.Writer, d *Document) error {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.head(d)
	t.listeners(d)
	t.registrations(d)
	for i := range d.Services {
		t.service(&d.Services[i], d.At)
	}
	return t.w.Flush()
}

// A table writes rows whose cells are aligned with those above and below. Errors of the
// underlying writer stay with the tabwriter, whose Flush reports them.
type table struct {
	w *tabwriter.Writer
}

// line ends the columns above: it is no part of a table.
func (t *table) line(format string, args ...any) {
	_, _ = fmt.Fprintf(t.w, format+"\n", args...)
}

// row writes cells, a tab after each but the last, so that no line ends in blanks.
func (t *table) row(indent string, cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	_, _ = fmt.Fprintln(t.w, indent+strings.Join(cells, "\t"))
}

func (t *table) head(d *Document) {
	state := "ready"
	switch {
	case d.Draining:
		state = "draining"
	case !d.Readiness.Ready:
		state = "not ready"
	}
	t.line("%s: %s, up %s, pid %d", printable(d.Build.String()), state, span(d.At.Sub(d.Started)), d.PID)
	for _, m := range d.Readiness.Missing {
		t.line("  missing: %s", printable(m))
	}
	for _, w := range d.Warnings {
		t.line("  warning: %s", printable(w))
	}
	for _, n := range d.Notices {
		t.line("  note: %s", printable(n))
	}
	for _, l := range d.Loops {
		if l.Panics > 0 {
			t.line("  loop %d: %d tasks ended by a panic: see the log, and report it", l.Index, l.Panics)
		}
	}
}

func (t *table) listeners(d *Document) {
	if len(d.Listeners) == 0 {
		return
	}
	t.line("")
	t.row("", "LISTENER", "SERVICE", "PROTOCOL", "ACTIVE", "ACCEPTED")
	for _, l := range d.Listeners {
		protocol := l.Protocol
		if len(l.SNI) > 0 {
			protocol += ", sni " + strings.Join(l.SNI, " ")
		}
		t.row("", printable(l.Address), printable(l.Service), printable(protocol), count(l.Active), count(l.Accepted))
	}
	for _, l := range d.Listeners {
		if l.Error != "" {
			t.line("  %s does not accept: %s", printable(l.Address), printable(l.Error))
		}
	}
}

func (t *table) service(s *Service, now time.Time) {
	t.line("")
	t.line("%s (%s): %d of %s usable; %s", printable(s.Service), printable(s.Policy),
		usable(s), plural(s.Total, "endpoint"), source(s, now))
	t.sources(s, now)
	if s.Source.Failing {
		t.line("  %s fails: %s", printable(s.SourceKind), printable(s.Source.LastError))
	}
	if s.Verdict != "" {
		t.line("  %s", printable(s.Verdict))
	}
	t.due(s, now)
	if b := s.Budget; b.Requests > 0 || b.Refused > 0 {
		t.line("  retries: %d of the last %s; %d refused by the budget since the start", b.Retries, plural(int(b.Requests), "request"), b.Refused)
	}
	if a := s.Adaptive; a != nil {
		t.line("  learned limit: %d of %d in flight; %d shed since the start", a.InFlight, a.Limit, a.Shed)
	}
	if len(s.Endpoints) == 0 {
		return
	}
	var attempts uint64
	for i := range s.Endpoints {
		attempts += s.Endpoints[i].Counters.Attempts
	}
	t.row("  ", "ENDPOINT", "ZONE", "WEIGHT", "STATE", "FOR", "SHARE", "LATENCY", "IN FLIGHT", "CONNECTIONS", "FAILED", "VERDICT")
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		t.row("  ", printable(e.Address), printable(e.Zone), strconv.Itoa(e.Weight), printable(string(e.State)), since(e.Since, now),
			share(e.Counters.Attempts, attempts), measured(e), count(e.InFlight), count(e.Connections), share(e.Counters.Failures(), e.Counters.Attempts), glance(e))
	}
}

// maxVerdict is how much of an endpoint's verdict /status shows; /explain has all of it.
const maxVerdict = 72

// glance is the verdict about an endpoint, cut short, or empty if it takes its share.
func glance(e *upstream.EndpointStatus) string {
	if e.Verdict == fine {
		return ""
	}
	return clipped(e.Verdict, maxVerdict)
}

// since is how long ago something was, or empty when it never was.
func since(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return span(now.Sub(at))
}

// measured is the latency of an endpoint as it last was, or empty while it is a guess.
func measured(e *upstream.EndpointStatus) string {
	if !e.Measured {
		return ""
	}
	return seconds(cmp.Or(e.LastSeconds, e.LatencySeconds))
}

// seconds is a latency as JSON has it.
func seconds(s float64) string { return latency(time.Duration(s * float64(time.Second))) }

// span is a time that people wait, to the precision that matters to them.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d"
}

// latency is a time that machines take, in three digits.
func latency(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// share is part of whole in percent, or empty when there is no whole.
func share(part, whole uint64) string {
	if whole == 0 {
		return ""
	}
	return percent(float64(part) / float64(whole))
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + "%" }

func count[N int64 | uint64](n N) string { return fmt.Sprintf("%d", n) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// printable is s on one line and without control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
