package discovery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// cautious are the options of a Guard whose instances say nothing when they are asked.
func cautious(last ...Instance) GuardOptions {
	return GuardOptions{Share: 0.5, After: 2 * time.Second, Last: last, Refuses: func(ctx context.Context, _ string) bool {
		<-ctx.Done()
		return false
	}}
}

// A talker reports all the time.
type talker struct{}

func (talker) Watch(ctx context.Context, report func(Update)) {
	for ctx.Err() == nil {
		report(set("a b"))
	}
}

func (talker) Refresh() {}

func TestRefreshOfACombinationWithinAnotherDoesNotLock(t *testing.T) {
	s := Prefer(1, Prefer(1, talker{}), talker{})
	_, stop := watch(s)
	defer stop()
	for range 20_000 { // a deadlock took some hundred rounds
		Refresh(s)
	}
}

func TestAFailedLookupConfirmsNoLossOfOneOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		out, stop := watch(Guard(Merge(Guard(one, cautious()), Guard(two, cautious())), cautious()))
		defer stop()
		one.say(set("a b c d e f g h i"))
		two.say(set("j"))
		one.say(set(""))
		time.Sleep(2001 * time.Millisecond)
		synctest.Wait()
		one.say(Update{Err: errDown})
		two.say(set("j"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		one.say(set("a b c d e f g h i"))
		for _, got := range out.got {
			if got != "[a b c d e f g h i j]" {
				t.Fatalf("reported %q", out.got)
			}
		}
	})
}

func TestALossIsNotHiddenByWhatStandsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		out, stop := watch(Guard(Prefer(2, Guard(one, cautious()), Guard(two, cautious())), cautious()))
		defer stop()
		one.say(set("a b c d e f"))
		one.say(set("a")) // a snapshot is being restored
		time.Sleep(2001 * time.Millisecond)
		synctest.Wait()
		one.say(set("a b c d e f"))
		if n := two.watched.Load(); n != 0 {
			t.Errorf("the second was watched %d times", n)
		}
		for _, got := range out.got {
			if got != "[a b c d e f]" && got != "error: 5 of 6 instances are gone at once; this is looked up again before it is believed" {
				t.Errorf("reported %s", got)
			}
		}
	})
}

func TestASetIsPartialUntilThosePreferredHaveAnswered(t *testing.T) {
	for _, test := range []struct {
		name    string
		combine func(...Source) Source
	}{{"merge", Merge}, {"prefer", func(s ...Source) Source { return Prefer(1, s...) }}} {
		synctest.Test(t, func(t *testing.T) {
			one, two := newScripted(), newScripted()
			var last Update
			// The Guard believes in ten, and none of what is partial counts as a loss or confirms one.
			_, stop := watch(reporting{Guard(test.combine(one, two), cautious(set("a b c d e f g h i j").Instances...)), func(u Update) { last = u }})
			defer stop()
			one.say(Update{Err: errDown})
			two.say(set("z"))
			if !last.Partial || text(last) != "[z]" {
				t.Errorf("%s: %s, partial %v", test.name, text(last), last.Partial)
			}
			time.Sleep(3 * time.Second)
			one.say(Update{Err: errDown})
			if !last.Partial {
				t.Errorf("%s: %s is not partial", test.name, text(last))
			}
			one.say(set("a b c d e f g h i"))
			if last.Partial || len(last.Instances) < 9 {
				t.Errorf("%s: %s, partial %v", test.name, text(last), last.Partial)
			}
			one.say(Update{Err: errDown})
			if last.Partial {
				t.Errorf("%s: what has answered once is partial", test.name)
			}
		})
	}
}

func TestAHeldLossSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newScripted()
		var last Update
		_, stop := watch(reporting{Guard(one, cautious()), func(u Update) { last = u }})
		defer stop()
		one.say(set("a b c"))
		one.say(set(""))
		if !errors.Is(last.Err, ErrHeld) {
			t.Errorf("error %v", last.Err)
		}
	})
}
