package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRenewsWithinEachThirdOfTheTTL(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		if got := s.want("register")[0]; got.health != passing || got.at != 0 {
			t.Fatalf("%+v", got)
		}
		last := time.Duration(0)
		different := map[time.Duration]bool{}
		for range 50 {
			s.pass(5 * time.Second)
			for _, c := range s.heard() {
				gap := c.at - last
				if c.verb != "renew" || gap > 5*time.Second || gap < 4500*time.Millisecond || c.health != passing {
					t.Fatalf("%+v after %v", c, gap)
				}
				last = c.at
				different[gap] = true
			}
		}
		if len(different) < 25 {
			t.Errorf("only %d of the gaps differ: what started together stays so", len(different))
		}
		s.wantLogs("announced")
	})
}

func TestRegistryThatIsNotThereYetIsAskedUntilItIs(t *testing.T) {
	story(t, always(errRefused), func(t *testing.T, s *teller) {
		s.pass(10 * time.Minute)
		calls := s.heard()
		for i := 1; i < len(calls); i++ {
			most := min(pauseFirst<<min(i-1, 10), pauseMost)
			if gap := calls[i].at - calls[i-1].at; gap < most/2 || gap > most || calls[i].verb != "register" {
				t.Fatalf("%+v after %v, want %v to %v", calls[i], gap, most/2, most)
			}
		}
		if len(calls) < 300 || len(calls) > 700 {
			t.Errorf("%d tries in 10 minutes", len(calls))
		}
		s.wantLogs("the registry does not take it; trying on")
		if st := s.r.Status(); st.Registered || !st.Failing || st.LastError != errRefused.Error() || !st.LastSuccess.IsZero() || !st.Since.Equal(s.begin) {
			t.Errorf("status %+v", st)
		}

		s.answers(nil)
		up := time.Since(s.begin)
		s.pass(2 * time.Second)
		if got := s.want("register")[0]; got.at-up > pauseMost {
			t.Errorf("announced %v after the registry is there", got.at-up)
		}
		s.wantLogs("the registry answers again", "announced")
		if st := s.r.Status(); !st.Registered || st.Failing || st.Registrations != 1 || st.LastSuccess.IsZero() || st.LastError == "" {
			t.Errorf("status %+v", st)
		}
	})
}

func TestChangedHealthIsToldAtOnceAndTwicePerSecondAtMost(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.pass(time.Second)
		s.want("register")
		s.r.SetHealth(critical)
		synctest.Wait()
		if got := s.want("renew")[0]; got.health != critical || got.at != time.Second {
			t.Fatalf("%+v", got)
		}
		s.r.SetHealth(critical) // no change
		s.pass(tellEvery)
		s.want("")

		for i := range 1000 { // ten seconds of flapping, a hundred times per second
			s.r.SetHealth(Health{Passing: i%2 == 0, Why: fmt.Sprint(i)})
			s.pass(10 * time.Millisecond)
		}
		calls := s.heard()
		if len(calls) < 18 || len(calls) > 21 {
			t.Errorf("%d tellings in 10 s", len(calls))
		}
		s.pass(tellEvery)
		calls = append(calls, s.heard()...)
		if got := calls[len(calls)-1].health; got.Why != "999" {
			t.Errorf("the last telling is %+v, not what was set last", got)
		}
		if st := s.r.Status(); st.Passing || st.Why != "999" {
			t.Errorf("status %+v", st)
		}
	})
}

func TestHealthThatIsBackBeforeItWasToldIsNotTold(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.r.SetHealth(critical)
		s.pass(0)
		s.want("register renew")
		s.r.SetHealth(passing)
		s.r.SetHealth(critical)
		s.pass(time.Second)
		s.want("")
	})
}

func TestNothingIsAnnouncedBeforeTheHealthIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{begin: time.Now()}
		r := New(Options{Announcement: orders, Registry: s}) // Lost() is nil, too
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		time.AfterFunc(2*time.Second, func() { r.SetHealth(Health{}) }) // the zero value is a verdict, too
		r.Run(ctx)
		if got := verbs(s.calls); got != "register deregister" {
			t.Fatalf("calls %s", got)
		}
		if got := s.calls[0]; got.health.Passing || got.at != 2*time.Second {
			t.Errorf("%+v", got)
		}
	})
}

func TestFailedRenewalIsTriedAgainAndHealthDoesNotHurryIt(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.want("register")
		s.wantLogs("announced")
		s.answers(always(errRefused))
		s.pass(5 * time.Second) // the renewal fails
		for i := range 6000 {
			s.r.SetHealth(Health{Why: fmt.Sprint(i)})
			s.pass(10 * time.Millisecond)
		}
		if n := len(s.heard()); n > 70 || n < 30 {
			t.Errorf("%d tries in a minute", n)
		}
		s.wantLogs("the registry does not take it; trying on")
		if st := s.r.Status(); !st.Registered || !st.Failing {
			t.Errorf("status %+v: nobody says that it is forgotten", st)
		}
		s.answers(nil)
		s.pass(pauseMost)
		if calls := s.heard(); len(calls) != 1 || calls[0].verb != "renew" || calls[0].health.Why != "5999" {
			t.Errorf("calls %+v", calls)
		}
		s.wantLogs("the registry answers again")
		// The next outage begins with short pauses again.
		s.answers(always(errRefused))
		s.pass(6 * time.Second)
		calls := s.heard()
		if gap := calls[1].at - calls[0].at; gap > pauseFirst {
			t.Errorf("the first pause of the second outage is %v", gap)
		}
	})
}

func TestAnotherCauseIsLoggedButNotEachTime(t *testing.T) {
	n := 0
	story(t, func(context.Context, call) error {
		n++
		return fmt.Errorf("read tcp 127.0.0.1:%d: connection reset", n)
	}, func(t *testing.T, s *teller) {
		s.pass(10*time.Minute - time.Second)
		if lines := s.logs.Len(); lines < 9 || lines > 10 {
			t.Errorf("%d lines in 10 minutes", lines)
		}
	})
}

func TestForgottenAnnouncementIsMadeAgainAtOnce(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.pass(12 * time.Second)
		s.want("register renew renew")
		s.answers(func(_ context.Context, c call) error {
			if c.verb == "renew" {
				return fmt.Errorf("no such check: %w", ErrForgotten)
			}
			return nil
		})
		s.pass(3 * time.Second)
		calls := s.want("renew register")
		if calls[0].at != calls[1].at || calls[1].health != passing {
			t.Errorf("calls %+v", calls)
		}
		s.wantLogs("announced", "it has to be announced again", "announced again")
		if st := s.r.Status(); !st.Registered || st.Registrations != 2 || st.Renewals != 2 || st.Failing {
			t.Errorf("status %+v", st)
		}
	})
}

func TestRegistryThatForgetsEachTimeIsNotAskedInABusyLoop(t *testing.T) {
	story(t, func(_ context.Context, c call) error {
		if c.verb == "renew" {
			return ErrForgotten
		}
		return nil
	}, func(t *testing.T, s *teller) {
		for i := range 6000 { // a minute in which each registration is followed by a renewal
			s.r.SetHealth(Health{Why: fmt.Sprint(i)})
			s.pass(10 * time.Millisecond)
		}
		if n := strings.Count(verbs(s.heard()), "register"); n < 20 || n > 70 {
			t.Errorf("%d registrations in a minute", n)
		}
		s.wantLogs("announced", "it has to be announced again", "announced again")
	})
}

// Two sidecars with one ID take it from each other, and renew in between.
func TestContestedIDIsNotNewsEachTime(t *testing.T) {
	renewals := 0
	story(t, func(_ context.Context, c call) error {
		if c.verb == "renew" {
			if renewals++; renewals%6 == 0 {
				return fmt.Errorf("somebody else has registered it: %w", ErrForgotten)
			}
		}
		return nil
	}, func(t *testing.T, s *teller) {
		s.pass(time.Minute)
		s.wantLogs("announced", "it has to be announced again", "announced again")
		s.pass(time.Hour)
		if n := s.logs.Len(); n < 2*4 || n > 2*6 { // twice each ten minutes or a little more
			t.Errorf("%d lines in an hour", n)
		}
		if n := s.r.Status().Registrations; n < 100 {
			t.Errorf("%d registrations in an hour", n)
		}
	})
}

func TestLostAnnouncementIsMadeAgain(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.pass(time.Second)
		s.want("register")
		s.lost <- struct{}{}
		synctest.Wait()
		if got := s.want("register")[0]; got.at != time.Second {
			t.Errorf("%+v", got)
		}
		s.wantLogs("announced", "announced again")
		for range 1000 { // signalled a hundred times per second
			s.lost <- struct{}{}
			s.pass(10 * time.Millisecond)
		}
		if n := len(s.heard()); n < 15 || n > 21 {
			t.Errorf("%d registrations in 10 s", n)
		}
	})
}

func TestNewCredentialsEndThePauseAfterAFailure(t *testing.T) {
	story(t, always(errors.New("the token is refused")), func(t *testing.T, s *teller) {
		s.pass(time.Minute)
		s.heard()
		var tried []call
		for tried == nil {
			s.pass(time.Millisecond)
			tried = s.heard()
		}
		last := tried[0].at // the next try by itself is a second or more away
		s.answers(nil)
		s.lost <- struct{}{}
		s.pass(tellEvery)
		if got := s.want("register")[0]; got.at-last != tellEvery {
			t.Errorf("announced %v after the last try", got.at-last)
		}
	})
}

func TestHangingCallEndsAtItsDeadline(t *testing.T) {
	story(t, hangs, func(t *testing.T, s *teller) {
		s.pass(DefaultCallTimeout)
		if st := s.r.Status(); st.LastError != context.DeadlineExceeded.Error() {
			t.Errorf("status %+v", st)
		}
		s.pass(pauseFirst)
		calls := s.want("register register")
		if calls[1].at < DefaultCallTimeout {
			t.Errorf("%+v", calls[1])
		}
	})
}

func TestEndTakesTheAnnouncementBack(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.stop()
		s.want("register deregister")
		s.wantLogs("announced", "taken back")
		if st := s.r.Status(); st.Registered || st.Failing {
			t.Errorf("status %+v", st)
		}
	})
}

func TestEndWaitsForTheCallUnderWayAndNotForEver(t *testing.T) {
	story(t, hangs, func(t *testing.T, s *teller) {
		start := time.Now()
		s.stop()
		if took := time.Since(start); took != 2*DefaultCallTimeout {
			t.Errorf("it took %v", took)
		}
		calls := s.want("register deregister")
		if calls[1].at != DefaultCallTimeout {
			t.Errorf("taken back at %v, while it may still be announced", calls[1].at)
		}
	})
}

func TestTakingBackIsTriedTwice(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		s.answers(always(errRefused))
		s.stop()
		s.want("register deregister deregister")
		s.wantLogs("announced", "it could not be taken back and ends with its TTL")
	})
	story(t, always(errRefused), func(t *testing.T, s *teller) {
		s.stop()
		s.want("register deregister deregister")
		s.wantLogs("the registry does not take it; trying on") // there was nothing to take back
	})
}

func TestStatusAsJSON(t *testing.T) {
	story(t, nil, func(t *testing.T, s *teller) {
		text, err := json.Marshal(s.r.Status())
		if err != nil {
			t.Fatal(err)
		}
		want := `{"name":"orders","id":"orders-1","registry":"scripted","registered":true,"since":"2000-01-01T00:00:00Z",` +
			`"last_success":"2000-01-01T00:00:00Z","failing":false,"passing":true,"why":"200 OK","leaving":false,"registrations":1,"renewals":0}`
		if got := string(text); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
