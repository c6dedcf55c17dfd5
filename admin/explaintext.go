package admin

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sidecar/upstream"
)

const (
	// fine is upstream's verdict about an endpoint that there is nothing to say of.
	fine = "takes its share of the traffic"

	// What people are shown of a long list; JSON has it all.
	maxEndpoints = 40
	maxDecisions = 40
	maxErrors    = 3
	maxErrorText = 160

	// recently is how long the last errors of an endpoint that takes its share are worth
	// telling.
	recently = time.Minute
)

// WriteExplanation prints for people how a service stands, then its endpoints, each with what
// keeps it from its share of the traffic and its last errors, then the decisions that led to
// this, newest last. Of thousands of endpoints it shows those that something is wrong with.
// Control characters are stripped as in WriteText. The error is w's.
func WriteExplanation(w io.Writer, e *Explanation) error {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.facts(e)
	t.endpoints(e)
	t.timeline(e)
	return t.w.Flush()
}

// WriteVerdicts prints for people how each service stands. The error is w's.
func WriteVerdicts(w io.Writer, v *Verdicts) error {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(v.Services) == 0 {
		t.line("there is no service")
	} else {
		t.row("", "SERVICE", "USABLE", "VERDICT")
	}
	for _, s := range v.Services {
		t.row("", printable(s.Service), fmt.Sprintf("%d of %d", s.Usable, s.Total), printable(s.Verdict))
	}
	return t.w.Flush()
}

// facts are what can be said of the service as a whole.
func (t *table) facts(e *Explanation) {
	t.line("%s: %s", printable(e.Service.Service), printable(e.Verdict))
	t.line("")
	t.row("  ", "as of", e.At.Format("2006-01-02 15:04:05.000 MST"))
	t.row("  ", "policy", printable(e.Policy))
	t.row("  ", "source", source(&e.Service, e.At))
	if e.Source.Failing {
		t.row("  ", "source fails", clipped(e.Source.LastError, maxErrorText)+", "+since(e.Source.LastErrorAt, e.At)+" ago")
	}
	t.row("  ", "endpoints", fmt.Sprintf("%d of %d usable; %d ejected, %d may be at once", usable(&e.Service), e.Total, e.Ejected, e.MaxEjected))
	if e.FailOpen != "" {
		t.row("  ", "fail-open", printable(e.FailOpen))
	}
	if e.Cause != "" {
		t.row("  ", "cause", printable(e.Cause)+" (what clients are told in the header Sidecar-Error)")
	}
	if spares := spares(e.Endpoints); spares > 0 || e.Fallback {
		t.row("  ", "fallback", plural(spares, "instance")+", "+inUse(e.Fallback))
	}
	b := &e.Budget
	t.row("  ", "retries", fmt.Sprintf("%d for %s lately; the budget has %d left, and has refused %d since the start",
		b.Retries, plural(int(b.Requests), "request"), int(b.Left), b.Refused))
	if a := e.Adaptive; a != nil {
		text := fmt.Sprintf("%d of %d in flight; %d shed since the start; answers took %s lately, %s without a queue",
			a.InFlight, a.Limit, a.Shed, seconds(a.ShortTermSeconds), seconds(a.LongTermSeconds))
		if a.Probing {
			text += "; lowered for now, to measure that"
		}
		t.row("  ", "learned limit", text)
	}
	connections := count(e.Connections)
	if e.Pending > 0 {
		connections += fmt.Sprintf(", %d of them being made", e.Pending)
	}
	t.row("  ", "connections", connections)
	t.certificates(&e.Service, e.At)
}

func spares(endpoints []upstream.EndpointStatus) (n int) {
	for i := range endpoints {
		if endpoints[i].State == upstream.StateSpare {
			n++
		}
	}
	return n
}

func inUse(is bool) string {
	if is {
		return "in use"
	}
	return "not in use"
}

// endpoints shows the endpoints, each with what there is to say of it.
func (t *table) endpoints(e *Explanation) {
	if len(e.Endpoints) == 0 {
		return
	}
	list := worst(e.Endpoints, maxEndpoints)
	var attempts uint64
	weighted := false
	for i := range e.Endpoints {
		attempts += e.Endpoints[i].Attempts
		weighted = weighted || e.Endpoints[i].Weight > 1
	}
	rows := [][]string{{"ENDPOINT", "ADDRESS", "ZONE", "WEIGHT", "STATE", "FOR", "SHARE", "TRIED", "FAILED", "LATENCY", "IN FLIGHT", "CONNECTIONS", "BREAKER"}}
	notes := [][]string{nil}
	for _, s := range list {
		address, weight, part, breaker := "", "", "", ""
		if s.Address != s.ID {
			address = printable(s.Address)
		}
		if weighted {
			weight = strconv.Itoa(s.Weight)
		}
		if attempts > 0 {
			part = percent(s.Share)
		}
		if s.Breaker != "closed" {
			breaker = printable(s.Breaker)
		}
		rows = append(rows, []string{
			printable(s.ID), address, printable(s.Zone), weight, printable(string(s.State)), since(s.Since, e.At),
			part, count(s.Attempts), count(s.Failures), measured(s), count(s.InFlight), count(s.Connections), breaker,
		})
		notes = append(notes, remarks(s, e.At))
	}
	t.line("")
	t.line("endpoints; share, tried and failed are of the latest attempts, those of the breaker's window")
	t.line("")
	t.annotated("  ", rows, notes)
	if more := len(e.Endpoints) - len(list); more > 0 {
		t.line("  … and %d more, %s; --json or ?format=json has them all", more, rest(e.Endpoints, list))
	}
}

// worst is up to limit endpoints in their order: of more than that, those first that do not
// take their share.
func worst(endpoints []upstream.EndpointStatus, limit int) []*upstream.EndpointStatus {
	var list []*upstream.EndpointStatus
	room := limit - unsound(endpoints)
	for i := range endpoints {
		e := &endpoints[i]
		if e.Verdict == fine {
			if room--; room < 0 {
				continue
			}
		}
		if list = append(list, e); len(list) == limit {
			break
		}
	}
	return list
}

// unsound is how many endpoints do not take their share.
func unsound(endpoints []upstream.EndpointStatus) (n int) {
	for i := range endpoints {
		if endpoints[i].Verdict != fine {
			n++
		}
	}
	return n
}

// rest says what the endpoints are like that are not in the list.
func rest(endpoints []upstream.EndpointStatus, list []*upstream.EndpointStatus) string {
	n := unsound(endpoints)
	for _, e := range list {
		if e.Verdict != fine {
			n--
		}
	}
	if n == 0 {
		return "which take their share of the traffic"
	}
	return fmt.Sprintf("%d of which do not take their share", n)
}

// remarks are what there is to say of an endpoint beyond its numbers.
func remarks(s *upstream.EndpointStatus, now time.Time) (lines []string) {
	if s.Verdict != fine && s.Verdict != "" {
		line := printable(s.Verdict)
		if until := until(s, now); !until.IsZero() {
			line += " [until " + clock(until, now) + "]"
		}
		lines = append(lines, line)
	}
	for i, n := range s.Errors {
		if i == maxErrors {
			break
		}
		if s.Verdict == fine && now.Sub(n.Last) > recently {
			break // the others are older still
		}
		lines = append(lines, fmt.Sprintf("%d× %s, last %s ago", n.Count, clipped(n.What, maxErrorText), span(now.Sub(n.Last))))
	}
	return lines
}

// until is when what keeps traffic from an endpoint ends by itself, or zero.
func until(s *upstream.EndpointStatus, now time.Time) time.Time {
	switch {
	case s.State == upstream.StateEjected && s.ReadyAt.After(now):
		return s.ReadyAt
	case s.PausedSeconds > 0 && (s.State == upstream.StateUsable || s.State == upstream.StateProbing):
		return now.Add(time.Duration(s.PausedSeconds * float64(time.Second)))
	}
	return time.Time{}
}

// timeline shows the decisions about the service and its endpoints, newest last.
func (t *table) timeline(e *Explanation) {
	decisions := merged(&e.Status)
	if len(decisions) == 0 {
		return
	}
	t.line("")
	t.line("decisions, newest last; failed is how many of the latest attempts had")
	t.line("")
	if earlier := len(decisions) - maxDecisions; earlier > 0 {
		t.line("  … %d earlier ones are in --json or ?format=json", earlier)
		decisions = decisions[earlier:]
	}
	rows := [][]string{{"TIME", "ENDPOINT", "DECISION", "UNTIL", "FAILED", "WHY"}}
	for i := range decisions {
		d := &decisions[i]
		end, failed := "", ""
		if !d.Until.IsZero() {
			end = clock(d.Until, e.At)
		}
		if d.Attempts > 0 {
			failed = fmt.Sprintf("%d of %d", d.Failures, d.Attempts)
		}
		rows = append(rows, []string{clock(d.At, e.At), printable(d.Endpoint), printable(d.What), end, failed, printable(d.Why)})
	}
	t.annotated("  ", rows, nil)
}

// merged is all decisions about a service and its endpoints in the order of time, each once.
func merged(s *upstream.Status) []upstream.Decision {
	var all []upstream.Decision
	for i := range s.Endpoints {
		for _, d := range s.Endpoints[i].History {
			d.Endpoint = s.Endpoints[i].ID
			all = append(all, d)
		}
	}
	// Of what is of one moment, that of the service comes last: it follows from the rest.
	all = append(all, s.History...)
	slices.SortStableFunc(all, func(a, b upstream.Decision) int { return a.At.Compare(b.At) })
	// That an endpoint has left stands in the service's history as well as in its own.
	type key struct {
		at                  int64
		endpoint, what, why string
	}
	seen := make(map[key]bool, len(all))
	return slices.DeleteFunc(all, func(d upstream.Decision) bool {
		k := key{d.At.UnixNano(), d.Endpoint, d.What, d.Why}
		twice := seen[k]
		seen[k] = true
		return twice
	})
}

// annotated writes rows as one table, the first of them its titles, with notes between them
// that are no part of it. A column in which nothing stands is left out.
func (t *table) annotated(indent string, rows, notes [][]string) {
	keep := make([]bool, len(rows[0]))
	for _, row := range rows[1:] {
		for i, cell := range row {
			keep[i] = keep[i] || cell != ""
		}
	}
	var text strings.Builder
	inner := &table{w: tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)}
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for i, cell := range row {
			if keep[i] {
				cells = append(cells, cell)
			}
		}
		inner.row(indent, cells...)
	}
	_ = inner.w.Flush() // a Builder takes everything
	for i, line := range strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n") {
		t.line("%s", line)
		if i < len(notes) {
			for _, note := range notes[i] {
				t.line("%s    %s", indent, note)
			}
		}
	}
}

// clock is the time of day, and the date if it is not that of now.
func clock(at, now time.Time) string {
	at = at.In(now.Location())
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return at.Format("15:04:05.000")
	}
	return at.Format("2006-01-02 15:04:05")
}

// clipped is s in printable form and no longer than n characters.
func clipped(s string, n int) string {
	runes := []rune(printable(s))
	if len(runes) <= n {
		return string(runes)
	}
	return strings.TrimRight(string(runes[:n-1]), " ") + "…"
}
