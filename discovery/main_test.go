package discovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sidecar/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

var errDown = errors.New("registry is down")

// A scripted source reports what the test says.
type scripted struct {
	updates   chan Update
	running   atomic.Bool
	watched   atomic.Int64 // how often Watch was called
	refreshed chan struct{}
}

func newScripted() *scripted {
	return &scripted{updates: make(chan Update), refreshed: make(chan struct{}, 16)}
}

func (s *scripted) Watch(ctx context.Context, report func(Update)) {
	if s.running.Swap(true) {
		panic("watched twice at once")
	}
	s.watched.Add(1)
	defer s.running.Store(false)
	for {
		select {
		case u := <-s.updates:
			report(u)
		case <-ctx.Done():
			return
		}
	}
}

func (s *scripted) Refresh() { s.refreshed <- struct{}{} }

func (s *scripted) asked() int {
	n := 0
	for len(s.refreshed) > 0 {
		<-s.refreshed
		n++
	}
	return n
}

// set is an Update of instances "a b c", whose addresses are made of their IDs.
func set(ids string) Update {
	var u Update
	for _, id := range strings.Fields(ids) {
		u.Instances = append(u.Instances, Instance{ID: id, Address: "10.0.0.1:" + fmt.Sprint(1000+int(id[0])), Weight: 1})
	}
	u.Unknown = ids == ""
	return u
}

// A sink keeps what was reported.
type sink struct{ got []string }

// text is an Update in short: its IDs, or its error.
func text(u Update) string {
	if u.Err != nil {
		return "error: " + u.Err.Error()
	}
	var ids []string
	for _, in := range u.Instances {
		ids = append(ids, in.ID)
	}
	out := "[" + strings.Join(ids, " ") + "]"
	if len(u.Problems) > 0 {
		out += " but " + strings.Join(u.Problems, ", ")
	}
	return out
}

func (s *sink) report(u Update) { s.got = append(s.got, text(u)) }

func (s *sink) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(s.got, want) {
		t.Fatalf("reported\n%q\nwant\n%q", s.got, want)
	}
	s.got = nil
}

// watch runs a source for as long as the test calls stop.
func watch(s Source) (*sink, func()) {
	out := new(sink)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		s.Watch(ctx, out.report)
		close(done)
	}()
	return out, func() { cancel(); <-done }
}
