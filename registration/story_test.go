package registration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var (
	orders = Announcement{ID: "orders-1", Name: "orders", Port: 8080, Weight: 1, WarningWeight: 1, TTL: 15 * time.Second}

	errRefused = errors.New("agent at 127.0.0.1:8500: connection refused; start it")
	passing    = Health{Passing: true, Why: "200 OK"}
	critical   = Health{Why: "connection refused"}
)

// A call is one that a scripted registry has heard.
type call struct {
	verb   string // register, renew, leave, deregister
	health Health
	why    string
	at     time.Duration // since the story's begin
}

// A scripted registry answers as the story says, and notes what it is asked.
type scripted struct {
	begin time.Time
	lost  chan struct{}

	mu     sync.Mutex
	calls  []call
	answer func(ctx context.Context, c call) error // nil: it knows everything
}

func (s *scripted) do(ctx context.Context, c call) error {
	if _, ok := ctx.Deadline(); !ok {
		return errors.New("a call without a deadline")
	}
	s.mu.Lock()
	c.at = time.Since(s.begin)
	s.calls = append(s.calls, c)
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx, c)
}

func (s *scripted) Register(ctx context.Context, _ Announcement, h Health) error {
	return s.do(ctx, call{verb: "register", health: h})
}

func (s *scripted) Renew(ctx context.Context, _ Announcement, h Health) error {
	return s.do(ctx, call{verb: "renew", health: h})
}

func (s *scripted) Leave(ctx context.Context, _ Announcement, why string) error {
	return s.do(ctx, call{verb: "leave", why: why})
}

func (s *scripted) Deregister(ctx context.Context, _ Announcement) error {
	return s.do(ctx, call{verb: "deregister"})
}

func (s *scripted) Lost() <-chan struct{} { return s.lost }

// answers sets what the registry says from now on; nil: it knows everything.
func (s *scripted) answers(f func(ctx context.Context, c call) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func always(err error) func(context.Context, call) error {
	return func(context.Context, call) error { return err }
}

func hangs(ctx context.Context, _ call) error {
	<-ctx.Done()
	return ctx.Err()
}

// A teller is a Registrar that runs against a scripted registry, in virtual time.
type teller struct {
	*scripted
	t    *testing.T
	r    *Registrar
	logs *observer.ObservedLogs
	end  context.CancelFunc
	done chan struct{}
}

// story runs tell on a Registrar that has just been started and has made its first call, with
// the given answer.
func story(t *testing.T, answer func(context.Context, call) error, tell func(t *testing.T, s *teller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		s := &teller{
			scripted: &scripted{begin: time.Now(), lost: make(chan struct{}, 1), answer: answer},
			t:        t, logs: logs, done: make(chan struct{}),
		}
		s.r = New(Options{Announcement: orders, Registry: s.scripted, Kind: "scripted", Log: zap.New(core)})
		s.r.SetHealth(passing)
		ctx, cancel := context.WithCancel(t.Context())
		s.end = cancel
		go func() {
			defer close(s.done)
			s.r.Run(ctx)
		}()
		t.Cleanup(s.stop)
		synctest.Wait()
		tell(t, s)
	})
}

func (s *teller) stop() {
	s.end()
	<-s.done
}

// pass lets virtual time go by.
func (s *teller) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// heard returns the calls since it was last asked.
func (s *teller) heard() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func verbs(calls []call) string {
	var out []string
	for _, c := range calls {
		out = append(out, c.verb)
	}
	return strings.Join(out, " ")
}

// want checks the calls since it was last asked.
func (s *teller) want(verbsWanted string) []call {
	s.t.Helper()
	calls := s.heard()
	if got := verbs(calls); got != verbsWanted {
		s.t.Fatalf("calls %q, want %q: %v", got, verbsWanted, calls)
	}
	return calls
}

// wantLogs checks the lines since it was last asked, each by its text after "registration: ".
func (s *teller) wantLogs(want ...string) {
	s.t.Helper()
	var got []string
	for _, e := range s.logs.TakeAll() {
		got = append(got, strings.TrimPrefix(e.Message, "registration: "))
		if fields := fmt.Sprint(e.ContextMap()); !strings.Contains(fields, "name:orders") || !strings.Contains(fields, "id:orders-1") || !strings.Contains(fields, "registry:scripted") {
			s.t.Errorf("%q does not say whom it is about: %s", e.Message, fields)
		}
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("logged %q, want %q", got, want)
	}
}
