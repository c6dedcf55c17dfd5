package daemon

import (
	"testing"
	"time"

	"sidecar/config"
	"sidecar/internal/eventloop"
)

func TestDelaysOfALoopHaveTheirBounds(t *testing.T) {
	st := eventloop.Stats{Delays: eventloop.Delays{Sum: time.Second}, Busy: time.Minute}
	st.Delays.Counts[2] = 7
	s := loopSample(1, &st)
	if len(s.DelayBounds) != len(s.Delays)-1 {
		t.Fatalf("%d bounds for %d counts", len(s.DelayBounds), len(s.Delays))
	}
	if s.Loop != 1 || s.Delays[2] != 7 || s.DelayBounds[2] != eventloop.DelayBound(2) || s.DelaySum != time.Second || s.Busy != time.Minute {
		t.Errorf("%+v", s)
	}
	for i := 1; i < len(s.DelayBounds); i++ {
		if s.DelayBounds[i] <= s.DelayBounds[i-1] {
			t.Errorf("bounds %v do not rise", s.DelayBounds)
		}
	}
}

func TestAFixedSetHasNoAge(t *testing.T) {
	for _, c := range []struct {
		sources []string
		want    bool
	}{
		{[]string{config.SourceStatic}, true},
		{[]string{config.SourceConsul}, false},
		{[]string{config.SourceConsul, config.SourceStatic}, false},
	} {
		if got := configured(&config.Service{Discovery: config.Discovery{Sources: c.sources}}); got != c.want {
			t.Errorf("%v: configured %v", c.sources, got)
		}
	}
}
