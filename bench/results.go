package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// A result is what one proxy did under one load, round by round.
type result struct {
	label string
	conns int

	rate         series // requests per second, MB/s, or Gbit/s
	cpu          series // µs per request, or ms per GB
	user, system series // the parts of cpu
	busy         series // share of a core that the proxy used
	p50, p99     series // µs
	mean         series // µs, where these are not known
	errors       int64
	others       series // share of a core that others used meanwhile
	kernel       series // … and the kernel's own network threads
	stolen       series // … and the hypervisor
}

// add adds one round: units is what the CPU time is divided by, and per the unit of the quotient.
func (r *result) add(u usage, rate, units float64, per time.Duration) {
	quotient := func(d time.Duration) float64 { return float64(d) / float64(per) / units }
	r.rate = append(r.rate, rate)
	r.cpu = append(r.cpu, quotient(u.cpu.total()))
	r.user = append(r.user, quotient(u.cpu.user))
	r.system = append(r.system, quotient(u.cpu.system))
	r.busy = append(r.busy, float64(u.cpu.total())/float64(u.wall))
	r.others = append(r.others, float64(u.others)/float64(u.wall))
	r.kernel = append(r.kernel, float64(u.kernel)/float64(u.wall))
	r.stolen = append(r.stolen, float64(u.stolen)/float64(u.wall))
}

func (r *result) addLoad(u usage, w loadResult) {
	r.add(u, w.rate, float64(w.requests), time.Microsecond)
	r.addTimes(w)
}

func (r *result) addTimes(w loadResult) {
	r.p50 = append(r.p50, micros(w.p50))
	r.p99 = append(r.p99, micros(w.p99))
	r.mean = append(r.mean, micros(w.mean))
	r.errors += w.errors
}

// addLarge is addLoad for large bodies: what counts is their bytes.
func (r *result) addLarge(u usage, w loadResult) {
	bytes := float64(w.requests) * largeSize
	r.add(u, w.rate*largeSize/1e6, bytes/1e9, time.Millisecond)
	r.addTimes(w)
}

// part shows a part of the CPU figure, which may be zero where the whole was measured.
func (r *result) part(s series, decimals int) string {
	if r.cpu.median() == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, s.median())
}

// find returns the result of a proxy under the same load, or an empty one.
func find(all []*result, label string, conns int) *result {
	for _, r := range all {
		if r.label == label && r.conns == conns {
			return r
		}
	}
	return &result{}
}

// references returns the proxies among the results that the others are compared with.
func references(all []*result) []string {
	var found []string
	for _, label := range []string{nameHAProxy, nameTunedHAProxy, nameNginx, nameBaseline, nameDefaults} {
		for _, r := range all {
			if r.label == label {
				found = append(found, label)
				break
			}
		}
	}
	return found
}

// ratioHeads are the titles of the cells that ratioCells returns.
func ratioHeads(refs []string) []string {
	var heads []string
	for _, figure := range []string{"CPU", "rate"} {
		for _, ref := range refs {
			heads = append(heads, figure+" ÷ "+ref)
		}
	}
	return heads
}

func ratioCells(r *result, all []*result, refs []string) []string {
	var cells []string
	for _, ref := range refs {
		cells = append(cells, ratio(r.cpu.median(), find(all, ref, r.conns).cpu.median()))
	}
	for _, ref := range refs {
		cells = append(cells, ratio(r.rate.median(), find(all, ref, r.conns).rate.median()))
	}
	return cells
}

// A run whose figures lie further apart than this, or which others disturbed more than that,
// is worth a note.
const (
	noisySpread = 0.10
	noisyOthers = 0.05
)

// percentiles tells whether the load knows of any: h2load tells the mean alone.
func percentiles(all []*result) bool {
	return slices.ContainsFunc(all, func(r *result) bool { return r.p99.median() > 0 })
}

// timeHeads are the titles of what is known of the times of requests.
func timeHeads(all []*result) []string {
	if percentiles(all) {
		return []string{"p50 µs", "p99 µs"}
	}
	return []string{"mean µs"}
}

// requestTable lays out results of requests.
func requestTable(title, unit string, all []*result) *table {
	refs := references(all)
	t := &table{title: title, labels: 2, head: append([]string{
		"conns", "proxy", unit + "/s",
	}, slices.Concat(timeHeads(all), []string{"errors", "CPU µs/" + unit, "user", "system", "min–max", "busy"}, ratioHeads(refs))...)}
	for _, r := range all {
		cells := []string{strconv.Itoa(r.conns), r.label, fixed(r.rate.median(), 0)}
		if percentiles(all) {
			cells = append(cells, fixed(r.p50.median(), 0), fixed(r.p99.median(), 0))
		} else {
			cells = append(cells, fixed(r.mean.median(), 0))
		}
		cells = append(cells, strconv.FormatInt(r.errors, 10), fixed(r.cpu.median(), 2), r.part(r.user, 2), r.part(r.system, 2),
			between(r.cpu, 2), percent(r.busy.median()))
		t.row(append(cells, ratioCells(r, all, refs)...)...)
	}
	t.noteNoise(all)
	return t
}

// largeTable lays out results of wrk with large bodies.
func largeTable(title string, all []*result) *table {
	refs := references(all)
	t := &table{title: title, labels: 2, head: append([]string{
		"conns", "proxy", "MB/s", "min–max", "p50 µs", "p99 µs", "errors", "CPU ms/GB", "user", "system", "min–max", "busy",
	}, ratioHeads(refs)...)}
	for _, r := range all {
		cells := []string{
			strconv.Itoa(r.conns), r.label, fixed(r.rate.median(), 0), between(r.rate, 0),
			fixed(r.p50.median(), 0), fixed(r.p99.median(), 0), strconv.FormatInt(r.errors, 10),
			fixed(r.cpu.median(), 0), r.part(r.user, 0), r.part(r.system, 0), between(r.cpu, 0), percent(r.busy.median()),
		}
		t.row(append(cells, ratioCells(r, all, refs)...)...)
	}
	t.noteNoise(all)
	return t
}

// bulkTable lays out results of bulk in one direction.
func bulkTable(title string, all []*result) *table {
	refs := references(all)
	t := &table{title: title, labels: 1, head: append([]string{
		"proxy", "Gbit/s", "min–max", "CPU ms/GB", "user", "system", "min–max", "busy",
	}, ratioHeads(refs)...)}
	for _, r := range all {
		cells := []string{
			r.label, fixed(r.rate.median(), 1), between(r.rate, 1),
			fixed(r.cpu.median(), 0), r.part(r.user, 0), r.part(r.system, 0),
			between(r.cpu, 0), percent(r.busy.median()),
		}
		t.row(append(cells, ratioCells(r, all, refs)...)...)
	}
	t.noteNoise(all)
	return t
}

// noteNoise says how far the figures of this run can be trusted.
func (t *table) noteNoise(all []*result) {
	var others, kernel, stolen float64
	for _, r := range all {
		if r.cpu.spread() > noisySpread {
			t.note("Noisy: the CPU figure of %s at %d connections varied by %s between rounds.",
				r.label, r.conns, percent(r.cpu.spread()))
		}
		if r.errors > 0 {
			t.note("%s at %d connections: %d errors; its other figures mean little.", r.label, r.conns, r.errors)
		}
		for i := range r.others {
			others, kernel, stolen = max(others, r.others[i]), max(kernel, r.kernel[i]), max(stolen, r.stolen[i])
		}
	}
	if others > noisyOthers {
		t.note("Noisy: other processes used up to %s of a core during a run.", percent(others))
	}
	if stolen > noisyOthers {
		t.note("Noisy: the hypervisor took up to %s of a core during a run.", percent(stolen))
	}
	if kernel > noisyOthers {
		t.note("The kernel's softirq threads used up to %s of a core during a run; no proxy is charged for it.", percent(kernel))
	}
}

func percent(share float64) string {
	return fmt.Sprintf("%.0f %%", 100*share)
}
