package main

import (
	"slices"
	"time"
)

// A series is what one figure was in each round.
type series []float64

func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// spread is the distance from the lowest to the highest, as a share of the median.
func (s series) spread() float64 {
	m := s.median()
	if m == 0 {
		return 0
	}
	return (slices.Max(s) - slices.Min(s)) / m
}

// micros returns a duration in microseconds, with its fraction.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
