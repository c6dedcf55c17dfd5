package redis

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAClockThatLeapsAheadHasNothingExpire(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, x := range []struct{ set, want time.Duration }{
		{0, time.Minute},                            // nobody has set it
		{5 * time.Hour, time.Minute},                // forward
		{-5 * time.Hour, time.Minute - 5*time.Hour}, // back: then nothing expires that does not yet
	} {
		if got := steady(began, began.Add(time.Minute+x.set), time.Minute).Sub(began); got != x.want {
			t.Errorf("set by %v: %v after the beginning, want %v", x.set, got, x.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := clock{time.Now()}
		time.Sleep(time.Hour)
		if now := time.Now(); !c.at(now).Equal(now) {
			t.Errorf("%v, want %v", c.at(now), now)
		}
	})
}
