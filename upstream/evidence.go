package upstream

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// keptErrors is how many different failures of an endpoint are remembered.
	keptErrors = 8
	// maxErrorText is how many bytes of an error's text are kept.
	maxErrorText = 256
)

// An ErrorNote is a failure that an endpoint has had, once or several times in a row.
type ErrorNote struct {
	What  string    `json:"what"` // "status 500", "connect: connection refused"
	Count uint64    `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// errorNotes are the last failures of an endpoint, newest first. Any thread may add; a
// failure that is like the newest note, but for the numbers in its text, only counts there.
type errorNotes struct{ newest atomic.Pointer[errorNote] }

type errorNote struct {
	outcome Outcome
	status  int
	err     string
	first   time.Time
	count   atomic.Uint64
	last    atomic.Int64 // UnixNano
	older   *errorNote   // immutable
	depth   int          // how many are older
}

func (n *errorNotes) add(now time.Time, r Result) {
	text := ""
	if r.Err != nil {
		if text = r.Err.Error(); len(text) > maxErrorText {
			// A copy, which does not hold on to what was cut off.
			text = strings.Clone(strings.ToValidUTF8(text[:maxErrorText], "")) + "…"
		}
	}
	for {
		newest := n.newest.Load()
		if newest != nil && newest.outcome == r.Outcome && newest.status == r.Status && alike(newest.err, text) {
			newest.count.Add(1)
			newest.last.Store(now.UnixNano())
			return
		}
		note := &errorNote{outcome: r.Outcome, status: r.Status, err: text, first: now, older: newest}
		note.count.Store(1)
		note.last.Store(now.UnixNano())
		if newest != nil {
			if note.depth = newest.depth + 1; note.depth >= 2*keptErrors {
				note.older, note.depth = newest.copied(keptErrors-1), keptErrors-1
			}
		}
		if n.newest.CompareAndSwap(newest, note) {
			return
		}
	}
}

// alike tells whether two texts differ at most in their numbers: ports, addresses and how
// long something took must not make each failure one of its own.
func alike(a, b string) bool {
	if a == b {
		return true
	}
	for a != "" && b != "" {
		if restA, restB := afterNumber(a), afterNumber(b); restA != a && restB != b {
			a, b = restA, restB
			continue
		}
		if a[0] != b[0] {
			return false
		}
		a, b = a[1:], b[1:]
	}
	return a == b
}

// afterNumber returns s without the number, or the address in digits, that it begins with.
func afterNumber(s string) string { return strings.TrimLeft(s, "0123456789.") }

// copied returns a copy of the newest n notes, which lets go of all older ones.
func (e *errorNote) copied(n int) *errorNote {
	if e == nil || n == 0 {
		return nil
	}
	c := &errorNote{outcome: e.outcome, status: e.status, err: e.err, first: e.first, older: e.older.copied(n - 1), depth: n - 1}
	c.count.Store(e.count.Load())
	c.last.Store(e.last.Load())
	return c
}

// list returns the notes, newest first.
func (n *errorNotes) list() []ErrorNote {
	notes := []ErrorNote{}
	for e := n.newest.Load(); e != nil && len(notes) < keptErrors; e = e.older {
		notes = append(notes, ErrorNote{What: e.what(), Count: e.count.Load(), First: e.first, Last: time.Unix(0, e.last.Load())})
	}
	return notes
}

// last describes the newest failure, or is empty.
func (n *errorNotes) last() string {
	if e := n.newest.Load(); e != nil {
		return e.what()
	}
	return ""
}

// what says in words what went wrong.
func (e *errorNote) what() string {
	switch {
	case e.status != 0 && e.err != "":
		return fmt.Sprintf("status %d: %s", e.status, e.err)
	case e.status != 0:
		return fmt.Sprintf("status %d", e.status)
	case e.err != "":
		return e.outcome.String() + ": " + e.err
	default:
		return e.outcome.String()
	}
}
