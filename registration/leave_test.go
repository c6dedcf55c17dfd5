package registration

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLeavingIsToldAtOnceAndIsTheEndOfRenewing(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.pass(time.Second)
		if err := s.r.Leave(t.Context(), "it drains"); err != nil {
			t.Fatal(err)
		}
		if got := s.want("register leave")[1]; got.why != "it drains" || got.at != time.Second {
			t.Errorf("%+v", got)
		}
		if err := s.r.Leave(t.Context(), "once more"); err != nil {
			t.Fatal(err)
		}
		s.r.SetHealth(critical)
		s.lost <- struct{}{}
		s.pass(10 * time.Minute)
		s.want("")
		if st := s.r.Status(); !st.Leaving || st.LeavingWhy != "it drains" || !st.Registered {
			t.Errorf("status %+v", st)
		}
		s.stop()
		s.want("deregister")
		s.wantLogs("announced", "leaving", "taken back")
	})
}

func TestLeavingComesBeforeEverythingElse(t *testing.T) {
	// It was never announced by us, and yet an announcement of an earlier run may be there: so the
	// registry is told, in the midst of a pause, and is not told anything else any more.
	story(t, always(errRefused), func(t *testing.T, s *teller) {
		s.pass(time.Minute)
		s.heard()
		s.answers(nil)
		begin := time.Since(s.begin)
		if err := s.r.Leave(t.Context(), "it drains"); err != nil {
			t.Fatal(err)
		}
		if got := s.want("leave")[0]; got.at != begin {
			t.Errorf("told after %v", got.at-begin)
		}
	})
}

func TestLeavingIsTriedOnUntilItIsHeard(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.heard()
		s.wantLogs("announced")
		s.answers(always(errRefused))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := s.r.Leave(ctx, "it drains")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errRefused) || !strings.HasPrefix(err.Error(), `registration: leave "orders-1": `) {
			t.Errorf("error %v", err)
		}
		s.lost <- struct{}{} // no reason to announce it again
		s.pass(5 * time.Second)
		calls := s.heard()
		if len(calls) < 6 || len(calls) > 20 || strings.Trim(verbs(calls), "leav ") != "" {
			t.Errorf("calls %+v", calls)
		}

		s.answers(nil)
		if err := s.r.Leave(t.Context(), "it drains"); err != nil {
			t.Error(err)
		}
		s.want("leave")
		s.wantLogs("the registry does not take it; trying on", "the registry answers again", "leaving")
	})
}

func TestLeaveFromManyGoroutinesIsOneCall(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := s.r.Leave(t.Context(), "it drains"); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		s.want("register leave")
	})
}

func TestLeaveWaitsForTheCallUnderWay(t *testing.T) {
	story(t, hangs, func(t *testing.T, s *teller) {
		s.answers(nil) // from the next call on
		if err := s.r.Leave(t.Context(), "it drains"); err != nil {
			t.Fatal(err)
		}
		if calls := s.want("register leave"); calls[1].at != DefaultCallTimeout {
			t.Errorf("calls %+v", calls)
		}
	})
}

func TestLeaveReturnsWhenTheAnnouncementIsTakenBackInstead(t *testing.T) {
	for name, c := range map[string]struct {
		atTheEnd func(context.Context, call) error
		wantErr  bool
	}{"taken back": {nil, false}, "not taken back": {always(errRefused), true}} {
		story(t, nil, func(t *testing.T, s *teller) {
			s.answers(always(errRefused))
			left := make(chan error, 1)
			go func() { left <- s.r.Leave(t.Context(), "it drains") }()
			s.pass(5 * time.Second)
			s.answers(c.atTheEnd)
			s.end()
			<-s.done
			if err := <-left; (err != nil) != c.wantErr {
				t.Errorf("%s: %v", name, err)
			}
			if err := s.r.Leave(t.Context(), "afterwards"); (err != nil) != c.wantErr {
				t.Errorf("%s, called afterwards: %v", name, err)
			}
		})
	}
}

func TestLeaveBeforeRunIsToldInsteadOfAnnouncing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{begin: time.Now()}
		r := New(Options{Announcement: orders, Registry: s})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Leave(ctx, "never mind"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("nobody tells the registry, and yet: %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r.Run(ctx)
		if got := verbs(s.calls); got != "leave deregister" {
			t.Errorf("calls %s", got)
		}
	})
}
