package main

import (
	"strings"
	"testing"
	"time"
)

func TestTableIsAlignedMarkdown(t *testing.T) {
	tab := &table{title: "A title", head: []string{"proxy", "µs"}, labels: 1}
	tab.row("haproxy", "13.20")
	tab.row("nginx", "–")
	tab.note("It rained %d times.", 2)
	want := `
### A title

| proxy   |    µs |
|---------|------:|
| haproxy | 13.20 |
| nginx   |     – |

- It rained 2 times.
`
	if got := tab.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRequestTableComparesWithWhatWasMeasured(t *testing.T) {
	measured := func(label string, cpu time.Duration) *result {
		r := &result{label: label, conns: 64}
		w := loadResult{requests: 1_000_000, rate: 100_000, p50: time.Millisecond, p99: 2 * time.Millisecond}
		r.addLoad(usage{cpu: cpuTime{system: cpu}, wall: 10 * time.Second}, w)
		return r
	}
	text := requestTable("t", "req", []*result{measured(nameSidecar, 6*time.Second), measured(nameHAProxy, 12*time.Second)}).String()
	if !strings.Contains(text, "CPU ÷ haproxy") || strings.Contains(text, "÷ nginx") {
		t.Errorf("want a comparison with haproxy, and none with nginx, which did not take part:\n%s", text)
	}
	for line := range strings.Lines(text) {
		if !strings.Contains(line, nameSidecar) {
			continue
		}
		for _, cell := range []string{" 64 ", " 100000 ", " 1000 ", " 2000 ", " 6.00 ", " 60 % ", " 0.50 ", " 1.00 "} {
			if !strings.Contains(line, cell) {
				t.Errorf("no cell %q in %s", cell, line)
			}
		}
	}
}

func TestNoiseIsNoted(t *testing.T) {
	r := &result{label: nameNginx, conns: 8, errors: 3}
	for _, cpu := range []time.Duration{10, 12} {
		r.add(usage{cpu: cpuTime{user: cpu * time.Second}, wall: time.Minute, others: 30 * time.Second}, 1, 1e6, time.Microsecond)
	}
	text := requestTable("t", "req", []*result{r}).String()
	for _, note := range []string{"varied by 18 %", "3 errors", "other processes used up to 50 % of a core"} {
		if !strings.Contains(text, note) {
			t.Errorf("no note %q in\n%s", note, text)
		}
	}
}

func TestLargeTableCountsBytes(t *testing.T) {
	r := &result{label: nameSidecar, conns: 8}
	w := loadResult{requests: 10_000, rate: 1_000, p50: time.Millisecond, p99: 2 * time.Millisecond}
	r.addLarge(usage{cpu: cpuTime{system: 5 * time.Second}, wall: 10 * time.Second}, w)
	text := largeTable("t", []*result{r}).String()
	for _, cell := range []string{" MB/s ", " 1049 ", " CPU ms/GB ", " 477 ", " 50 % "} { // 10.49 GB
		if !strings.Contains(text, cell) {
			t.Errorf("no cell %q in\n%s", cell, text)
		}
	}
}
