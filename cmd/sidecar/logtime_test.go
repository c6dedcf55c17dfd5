package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"sidecar/config"
)

func TestLinesBearTheTimeOfTheHostAndAreSampledByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := newLogger(config.Log{Level: "info", Format: "json"}, &b)
		child := log.With(zap.String("service", "orders")).WithOptions(zap.WithClock(fixedClock{}))
		child.Info("late")
		if want := time.Now().Format(`"ts":"2006-01-02T15:04:05`); !strings.Contains(b.String(), want) || !strings.Contains(b.String(), `"service":"orders"`) {
			t.Errorf("%s, want %s", b.String(), want)
		}
		b.Reset()
		for range 3 * sampleFirst {
			log.Info("often")
		}
		time.Sleep(sampleTick)
		log.Info("often")
		if n := strings.Count(b.String(), "often"); n != sampleFirst+2+1 {
			t.Errorf("%d lines", n)
		}
	})
}

func TestTheClockOfTheLogGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := steadyClock{time.Now()}
		time.Sleep(time.Hour)
		if now := c.Now(); !now.Equal(time.Now()) {
			t.Errorf("%v, want %v", now, time.Now())
		}
		// What it shows comes of when it began, and of nothing that the host's clock says since.
		past := steadyClock{time.Now().Add(-5 * time.Hour)}
		if got := past.Now().Sub(past.began); got != 5*time.Hour {
			t.Errorf("%v", got)
		}
	})
}

// A fixedClock stands still, long ago.
type fixedClock struct{}

func (fixedClock) Now() time.Time                         { return time.Unix(1, 0) }
func (fixedClock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }
