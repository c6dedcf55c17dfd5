package discovery

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Backoff is how long to pause after failures in a row: First, doubled up to Most, of which
// half is left to chance, so that many watches do not come back at one moment. The zero value
// is not usable. It belongs to one goroutine.
type Backoff struct {
	First, Most time.Duration
	failures    int
}

// Next counts a failure and returns how long to pause.
func (b *Backoff) Next() time.Duration {
	pause := min(b.First<<min(b.failures, 20), b.Most)
	b.failures++
	return pause/2 + rand.N(max(pause/2, 1))
}

// Reset forgets the failures: something has succeeded.
func (b *Backoff) Reset() { b.failures = 0 }

// Failures is how many there were in a row.
func (b *Backoff) Failures() int { return b.failures }

// Sleep returns after d, or as soon as ctx ends or wake has something; wake may be nil. It
// tells whether ctx has not ended.
func Sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-wake:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}
