package main

import (
	"fmt"
	"time"
)

// A column says one thing about a run.
type column struct {
	head string
	cell func(t *tally) string
}

// The columns.
var ( // never changed
	badShare = column{"share %", func(t *tally) string {
		return percent(t.share(t.scenario.window, t.scenario.bad(t.size)))
	}}
	lastShare = column{"at last %", func(t *tally) string {
		w := t.scenario.window
		return percent(t.share(span{max(w.from, w.to-10*time.Second), w.to}, t.scenario.bad(t.size)))
	}}
	userErrors = column{"errors %", func(t *tally) string { return percent(t.errors(t.scenario.window)) }}
	median     = column{"p50 ms", func(t *tally) string { return millis(t.latencies.quantile(0.5)) }}
	p99        = column{"p99 ms", func(t *tally) string { return millis(t.latencies.quantile(0.99)) }}

	amplification = column{"amplification", func(t *tally) string { return fmt.Sprintf("%.2f", t.amplification()) }}
	extra         = column{"retries/s each", func(t *tally) string {
		more := sum(t.attempts, t.scenario.window) - sum(t.requests, t.scenario.window)
		return fmt.Sprintf("%.1f", float64(more)/t.scenario.window.length().Seconds()/float64(t.size.sidecars))
	}}
	peakLoad = column{"peak load", func(t *tally) string { return fmt.Sprintf("%.2f", t.peak(t.scenario.rush, nil)) }}
	badPeak  = column{"its peak load", func(t *tally) string {
		return fmt.Sprintf("%.2f", t.peak(t.scenario.rush, t.scenario.bad(t.size)))
	}}
	recovery = column{"recovery s", func(t *tally) string {
		took, never := t.recovery(t.scenario.watch)
		if never {
			return "never"
		}
		return fmt.Sprintf("%.1f", took.Seconds())
	}}
	goodput = column{"goodput %", func(t *tally) string { return percent(t.goodput()) }}

	localBefore = column{"local before %", func(t *tally) string { return percent(t.localShare(span{2 * time.Second, t.scenario.window.from})) }}
	localDuring = column{"during %", func(t *tally) string {
		return percent(t.localShare(span{t.scenario.window.from + 5*time.Second, t.scenario.window.to}))
	}}
	localAfter = column{"after %", func(t *tally) string {
		return percent(t.localShare(span{t.scenario.length - 3*time.Second, t.scenario.length}))
	}}
)

// percent is a share with as many digits as it needs.
func percent(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0"
	case p < 1:
		return fmt.Sprintf("%.2f", p)
	default:
		return fmt.Sprintf("%.1f", p)
	}
}

func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 100 {
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
