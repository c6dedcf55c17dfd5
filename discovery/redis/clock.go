package redis

import "time"

// A clock is what entries expire by: that of the host, except that it does not leap ahead. If somebody
// sets the host's clock forward by an hour, all entries that are renewed each minute would be gone
// together. Set back, it only has them stay for longer.
type clock struct{ began time.Time }

// at is what the clock shows, now being what time.Now says.
func (c clock) at(now time.Time) time.Time {
	return steady(c.began.Round(0), now.Round(0), now.Sub(c.began))
}

// steady is now, or if that is earlier, what it would be had the clock just gone on since began.
func steady(began, now time.Time, elapsed time.Duration) time.Time {
	if t := began.Add(elapsed); t.Before(now) {
		return t
	}
	return now
}
