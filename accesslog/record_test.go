package accesslog

import (
	"bytes"
	"strings"
	"testing"
)

func TestTraceIDs(t *testing.T) {
	const id, rest = "4bf92f3577b34da6a3ce929d0e0e4736", "-00f067aa0ba902b7-01"
	for value, valid := range map[string]bool{
		"00-" + id + rest:                       true,
		"00-" + id + rest[:18] + "00":           true,
		"01-" + id + rest:                       true,
		"cc-" + id + rest + "-what-comes-later": true,
		"":                                      false,
		"00-" + id + rest + "-x":                false, // version 00 ends there
		"cc-" + id + rest + "x":                 false,
		"ff-" + id + rest:                       false,
		"0x-" + id + rest:                       false,
		"00_" + id + rest:                       false,
		"00-" + strings.ToUpper(id) + rest:      false,
		"00-" + strings.Repeat("0", 32) + rest:  false,
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01": false,
		"00-" + id + "-00f067aa0ba902b7_01":                false,
		"00-" + id + "-00f067aa0ba902b7-0g":                false,
		"00-" + id + "_00f067aa0ba902b7-01":                false,
		"00-" + id + "-00f067aa0ba902b7-0":                 false,
		"00-" + id[:31] + "\"" + rest:                      false,
		" 00-" + id + rest[:19]:                            false,
	} {
		want := ""
		if valid {
			want = id
		}
		if got := TraceID([]byte(value)); string(got) != want {
			t.Errorf("%s: %s, want %q", value, got, want)
		}
	}
}

func TestARecordThatOwnsItsBytesOutlivesTheMessage(t *testing.T) {
	r := full()
	want := []string{line(t, JSON, r), line(t, Combined, r)}
	message := [][]byte{r.Method, r.Target, r.Host, r.Referer, r.UserAgent, r.Traceparent}
	memory := r.Own(nil)
	for _, b := range message {
		for i := range b {
			b[i] = '!'
		}
	}
	if got := []string{line(t, JSON, r), line(t, Combined, r)}; got[0] != want[0] || got[1] != want[1] {
		t.Errorf("\n got %q\nwant %q", got, want)
	}

	// The next one has the same memory, without taking more.
	long := bytes.Repeat([]byte("x"), 1<<20)
	next := Record{Time: r.Time, Method: []byte("PUT"), Target: long, Traceparent: append([]byte("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-"), long...)}
	want = []string{line(t, JSON, &next)}
	memory = next.Own(memory)
	if got := line(t, JSON, &next); got != want[0] || !strings.Contains(got, `"trace_id"`) {
		t.Errorf("\n got %.200s\nwant %.200s", got, want[0])
	}
	if cap(memory) > mostTarget+1024 {
		t.Errorf("it owns %d bytes", cap(memory))
	}
	if n := testing.AllocsPerRun(100, func() {
		again := Record{Method: message[0], Target: message[1]}
		memory = again.Own(memory)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
