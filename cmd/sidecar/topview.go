package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sidecar/admin"
)

// The orders that top can have its rows in.
const (
	byName     = "name" // as the configuration has the services
	byRequests = "requests"
	byErrors   = "errors"
	byLatency  = "latency"
	byInFlight = "in-flight"
)

// topOrders are they, in the turn of the key s.
func topOrders() []string { return []string{byRequests, byErrors, byLatency, byInFlight, byName} }

// A topView is what top shows: two documents, of which the older one may be nil, and how they are
// to be shown.
type topView struct {
	before, now *admin.Document
	trouble     string // why there is nothing newer; empty: it is new
	service     string // only this one; empty: all
	order       string
	scroll      int // rows that have gone by at the top
	// Width and height are those of the terminal; 0 means that there is no end.
	width, height int
	paint         painter
}

// A topRow is a service, or one of its endpoints.
type topRow struct {
	name     string
	state    string
	service  bool
	rate     float64 // requests or connections per second
	known    bool    // what rate, ended and failures are; a service's are those of the endpoints whose are known
	failed   float64 // share of those that have ended
	ended    uint64
	failures uint64
	latency  float64 // seconds; 0: not measured
	inFlight int64
	sockets  int64
	breaker  string
	below    []topRow
}

// render is the screen, line by line.
func (v *topView) render() []string {
	lines := v.head()
	rows := v.rows()
	room := len(rows)
	if v.height > 0 {
		room = max(v.height-len(lines)-2, 1) // titles and footer
	}
	v.scroll = max(0, min(v.scroll, len(rows)-room))
	shown := rows[v.scroll:min(len(rows), v.scroll+room)]
	lines = append(lines, v.table(rows, shown)...)
	if v.height > 0 {
		for len(lines) < v.height-1 {
			lines = append(lines, "")
		}
		lines = append(lines[:v.height-1], v.footer(len(shown), len(rows)))
	}
	return lines
}

// head says how the sidecar stands, and what is wrong with it.
func (v *topView) head() []string {
	d := v.now
	state, color := "ready", green
	switch {
	case d.Draining:
		state, color = "draining", yellow
	case !d.Readiness.Ready:
		state, color = "not ready", red
	}
	var connections int64
	for _, l := range d.Loops {
		connections += l.Connections
	}
	left := v.fit("sidecar "+visible(d.Build.Version)+": ", "")
	right := fmt.Sprintf(", up %s, pid %d, %s on %s; %s", d.At.Sub(d.Started).Round(time.Second), d.PID,
		count(uint64(max(connections, 0)), "connection"), count(uint64(len(d.Loops)), "loop"), d.At.Format(time.TimeOnly))
	lines := []string{left + v.paint.paint(color, v.fit(state, left)) + v.fit(right, left+state)}
	if v.trouble != "" {
		lines = append(lines, v.paint.paint(red, v.fit("no news since "+d.At.Format(time.TimeOnly)+": "+visible(v.trouble), "")))
	}
	const mostProblems = 3
	shown := 0
	for _, p := range d.Problems {
		if p.Severity == admin.Note || v.service != "" && p.Service != v.service && p.Service != "" {
			continue
		}
		if shown++; shown > mostProblems {
			lines = append(lines, v.fit("  … \"sidecar status\" has them all", ""))
			break
		}
		text, color := p.What, yellow
		if p.Service != "" {
			text = p.Service + ": " + text
		}
		if p.Severity == admin.Outage {
			color = red
		}
		lines = append(lines, v.paint.paint(color, v.fit("! "+visible(text), "")))
	}
	return append(lines, "")
}

// rows are all rows in their order, endpoints below their services.
func (v *topView) rows() []topRow {
	var services []topRow
	for i := range v.now.Services {
		s := &v.now.Services[i]
		if v.service == "" || s.Service == v.service {
			services = append(services, v.serviceRow(s))
		}
	}
	v.sort(services)
	var rows []topRow
	for _, s := range services {
		v.sort(s.below)
		rows = append(append(rows, s), s.below...)
	}
	return rows
}

func (v *topView) serviceRow(s *admin.Service) topRow {
	row := topRow{name: s.Service, service: true, known: len(s.Endpoints) == 0, state: fmt.Sprintf("%d of %d", s.Usable, s.Total)}
	if s.Fallback {
		row.state = "fallback"
	}
	var weighed, weight float64
	for i := range s.Endpoints {
		e := v.endpointRow(s.Service, i, s)
		row.known = row.known || e.known
		row.rate += e.rate
		row.ended += e.ended
		row.failures += e.failures
		row.inFlight += e.inFlight
		row.sockets += e.sockets
		if e.latency > 0 {
			// Without traffic all count alike.
			w := e.rate + 1e-9
			weighed, weight = weighed+w*e.latency, weight+w
		}
		row.below = append(row.below, e)
	}
	if weight > 0 {
		row.latency = weighed / weight
	}
	row.failed = part(row.failures, row.ended)
	return row
}

// endpointRow is the row of the ith endpoint of s.
func (v *topView) endpointRow(service string, i int, s *admin.Service) topRow {
	e := &s.Endpoints[i]
	name := e.ID
	if e.Address != e.ID && e.Address != "" {
		name += " " + e.Address
	}
	row := topRow{name: name, state: string(e.State), inFlight: e.InFlight, sockets: e.Connections, breaker: e.Breaker}
	if e.Measured {
		row.latency = cmp.Or(e.LastSeconds, e.LatencySeconds)
	}
	was, took := v.earlier(service, e.ID, e.Address)
	if was == nil || took <= 0 || e.Counters.Attempts < was.attempts || e.Counters.Successes < was.successes || e.Counters.Failures() < was.failures {
		return row // new, or counted anew
	}
	row.known = true
	row.rate = float64(e.Counters.Attempts-was.attempts) / took.Seconds()
	row.failures = e.Counters.Failures() - was.failures
	row.ended = e.Counters.Successes - was.successes + row.failures
	row.failed = part(row.failures, row.ended)
	return row
}

// counted is what an endpoint had counted earlier.
type counted struct{ attempts, successes, failures uint64 }

// earlier finds an endpoint in the document before; nil: it was not there, or it was another process.
func (v *topView) earlier(service, id, address string) (*counted, time.Duration) {
	if v.before == nil || v.before.PID != v.now.PID || !v.before.Started.Equal(v.now.Started) {
		return nil, 0
	}
	for i := range v.before.Services {
		s := &v.before.Services[i]
		if s.Service != service {
			continue
		}
		for j := range s.Endpoints {
			if e := &s.Endpoints[j]; e.ID == id && e.Address == address {
				return &counted{e.Counters.Attempts, e.Counters.Successes, e.Counters.Failures()}, v.now.At.Sub(v.before.At)
			}
		}
	}
	return nil, 0
}

func part(of, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(of) / float64(whole)
}

// sort puts rows in order, what there is most of first. Rows that are alike stay as they were.
func (v *topView) sort(rows []topRow) {
	key := func(r *topRow) float64 {
		switch v.order {
		case byRequests:
			return r.rate
		case byErrors:
			return r.failed
		case byLatency:
			return r.latency
		case byInFlight:
			return float64(r.inFlight)
		}
		return 0
	}
	slices.SortStableFunc(rows, func(a, b topRow) int { return cmp.Compare(key(&b), key(&a)) })
}

// A topColumn is one column; those that matter least are given up first where it is narrow.
type topColumn struct {
	title string
	text  func(*topRow) string
	color func(*topRow) string
	keep  int // columns of small numbers go first
}

func topColumns() []topColumn {
	return []topColumn{
		{"STATE", func(r *topRow) string { return r.state }, stateColor, 9},
		{"REQ/S", func(r *topRow) string { return perSecond(r) }, nil, 8},
		{"ERRORS", failedText, failedColor, 7},
		{"LATENCY", func(r *topRow) string { return latencyText(r.latency) }, nil, 6},
		{"IN FLIGHT", func(r *topRow) string { return strconv.FormatInt(r.inFlight, 10) }, nil, 5},
		{"CONNS", func(r *topRow) string { return strconv.FormatInt(r.sockets, 10) }, nil, 2},
		{"BREAKER", func(r *topRow) string { return visible(r.breaker) }, breakerColor, 3},
	}
}

func stateColor(r *topRow) string {
	switch {
	case r.service && strings.HasPrefix(r.state, "0 of"), r.state == "down", r.state == "ejected":
		return red
	case r.service && r.state != "fallback", r.state == "usable":
		return ""
	}
	return yellow
}

func perSecond(r *topRow) string {
	switch {
	case !r.known:
		return "-"
	case r.rate < 100:
		return strconv.FormatFloat(r.rate, 'f', 1, 64)
	}
	return strconv.FormatFloat(r.rate, 'f', 0, 64)
}

func failedText(r *topRow) string {
	if !r.known || r.ended == 0 {
		return "-"
	}
	return strconv.FormatFloat(100*r.failed, 'f', 1, 64) + "%"
}

func failedColor(r *topRow) string {
	switch {
	case r.failed >= 0.05:
		return red
	case r.failed > 0:
		return yellow
	}
	return ""
}

func breakerColor(r *topRow) string {
	switch r.breaker {
	case "closed", "":
		return ""
	case "open":
		return red
	}
	return yellow
}

// latencyText is a latency in three digits.
func latencyText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// visible is a text on one line and without control characters: it may come from a registry, and must
// not write anywhere else on the terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// fit cuts a text to what the width leaves behind what stands before it.
func (v *topView) fit(text, before string) string {
	if v.width == 0 {
		return text
	}
	return cut(text, v.width-utf8.RuneCountInString(before))
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}
