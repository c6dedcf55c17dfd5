package main

import "testing"

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   series
		want float64
	}{
		{nil, 0},
		{series{3}, 3},
		{series{9, 1, 5}, 5},
		{series{4, 1, 3, 2}, 2.5},
	} {
		if got := c.of.median(); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.of, got, c.want)
		}
	}
}

func TestMedianLeavesTheOrder(t *testing.T) {
	s := series{3, 1, 2}
	s.median()
	if s[0] != 3 || s[1] != 1 || s[2] != 2 {
		t.Errorf("now %v", s)
	}
}

func TestSpread(t *testing.T) {
	if got := (series{12, 10, 9}).spread(); got != 0.3 {
		t.Errorf("got %v, want 0.3", got)
	}
	if got := (series{0, 0}).spread(); got != 0 {
		t.Errorf("got %v for nothing measured, want 0", got)
	}
}
