package discovery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestMergeReportsTheUnion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		out, stop := watch(Merge(one, two))
		defer stop()
		one.say(set("a c"))
		out.want(t) // the other may have as many
		two.say(set("b c"))
		out.want(t, "[a b c]")
		one.say(set("c"))
		out.want(t, "[b c]")

		one.say(Update{Err: errDown})
		out.want(t, "[b c]")
		two.say(Update{Err: errDown})
		out.want(t, "error: registry is down; registry is down")
		two.say(set("d"))
		out.want(t, "[c d]")
		one.say(set(""))
		out.want(t, "[d]")
		two.say(Update{Instances: []Instance{{ID: "d", Address: "10.0.0.2:1"}}})
		one.say(set("d"))
		out.want(t, "[d]", "[d] but d at 10.0.0.2:1: an earlier source has another instance of this ID; rename one")
	})
}

func TestMergeOfOneThatFailsFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		out, stop := watch(Merge(one, two))
		defer stop()
		one.say(Update{Err: errDown})
		two.say(set("a"))
		out.want(t, "[a]")
	})
}

func TestWhatRecordsHaveLoggedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newScripted()
		var last Update
		_, stop := watch(reporting{Prefer(1, one), func(u Update) { last = u }})
		defer stop()
		one.say(Update{Err: errDown})
		if !Told(last.Err) || Told(errDown) || !errors.Is(last.Err, errDown) {
			t.Errorf("error %v", last.Err)
		}
	})
}

func TestAnUnknownServiceIsOneThatNoSourceKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		var last Update
		s := Merge(one, two)
		_, stop := watch(reporting{s, func(u Update) { last = u }})
		defer stop()
		one.say(Update{Unknown: true})
		two.say(Update{Unknown: true})
		if !last.Unknown {
			t.Error("nobody knows it, and it is not unknown")
		}
		two.say(Update{})
		if last.Unknown {
			t.Error("it is known to be empty, and unknown")
		}
	})
}

func TestPreferUsesTheNextOnlyWhileItIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		out, stop := watch(Prefer(2, one, two))
		defer stop()
		if synctest.Wait(); two.running.Load() {
			t.Fatal("the second is watched before the first has said anything")
		}
		one.say(set("a b"))
		if out.want(t, "[a b]"); two.running.Load() {
			t.Fatal("the second is watched though the first suffices")
		}
		one.say(set("a"))
		out.want(t, "[a]")
		two.say(set("c"))
		out.want(t, "[a c]")
		one.say(set(""))
		one.say(set("a b"))
		out.want(t, "[c]", "[a b]")
		time.Sleep(59 * time.Second)
		if synctest.Wait(); !two.running.Load() {
			t.Fatal("the second is given up at once")
		}
		one.say(set("a")) // it is needed again
		one.say(set("a b"))
		out.want(t, "[a c]", "[a b]")
		time.Sleep(59 * time.Second)
		if synctest.Wait(); !two.running.Load() {
			t.Fatal("the time is not counted anew")
		}
		time.Sleep(time.Second)
		if synctest.Wait(); two.running.Load() {
			t.Fatal("the second is watched for ever")
		}
		one.say(set("a"))
		out.want(t, "[a]") // what the second said a while ago is not used again
		two.say(set("d"))
		if out.want(t, "[a d]"); two.watched.Load() != 2 {
			t.Fatalf("watched %d times", two.watched.Load())
		}
	})
}

func TestPreferGoesOnWithWhatAFailingSourceSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		out, stop := watch(Prefer(1, one, two))
		defer stop()
		one.say(set("a"))
		one.say(Update{Err: errDown})
		out.want(t, "[a]", "error: registry is down")
		if two.running.Load() {
			t.Fatal("the second is used though the first's set stands")
		}
		one.say(set("a"))
		out.want(t, "[a]")
	})
}

func TestPreferTakesTheNextWhenTheFirstFailsFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := newScripted()
		out, stop := watch(Prefer(1, one, Static(set("s").Instances)))
		defer stop()
		one.say(Update{Err: errDown})
		out.want(t, "[s]")
		one.say(set("a"))
		out.want(t, "[a]")
	})
}

func TestPreferWaitsForTheNextBeforeItSaysThatThereIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		out, stop := watch(Prefer(1, one, two))
		defer stop()
		one.say(set(""))
		out.want(t)
		two.say(set("b"))
		out.want(t, "[b]")
		two.say(set(""))
		out.want(t, "[]")
	})
}

func TestRefreshReachesAllThatAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		s := Guard(NewRecord("x", "", Prefer(1, NewRecord("a", "", one, nil, false), two), nil, false), GuardOptions{Share: 1})
		Refresh(s) // before Watch
		_, stop := watch(s)
		one.say(set("a"))
		Refresh(s)
		if one.asked() != 1 || two.asked() != 0 {
			t.Error("not those that are watched are asked")
		}
		stop()
		Refresh(s)
		Refresh(Static(nil))
	})
}

// reporting tells a function of what a source reports, and passes it on.
type reporting struct {
	Source
	hear func(Update)
}

func (r reporting) Watch(ctx context.Context, report func(Update)) {
	r.Source.Watch(ctx, func(u Update) { r.hear(u); report(u) })
}
