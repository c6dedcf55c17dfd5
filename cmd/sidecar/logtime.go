package main

import (
	"time"

	"go.uber.org/zap/zapcore"
)

// A steadyClock goes on as it did when it began, whoever sets the clock of the host. Lines are sampled
// by it: after the host's clock was set back by an hour, that hour would pass before a second counts
// as over, with next to nothing in the log.
type steadyClock struct{ began time.Time }

// Now is zapcore.Clock's.
func (c steadyClock) Now() time.Time { return c.began.Add(time.Since(c.began)) }

// NewTicker is zapcore.Clock's.
func (steadyClock) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

// A stampedCore has lines bear the time of the host's clock.
type stampedCore struct{ zapcore.Core }

// With is zapcore.Core's.
func (c stampedCore) With(fields []zapcore.Field) zapcore.Core {
	return stampedCore{c.Core.With(fields)}
}

// Check is zapcore.Core's.
func (c stampedCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write is zapcore.Core's.
func (c stampedCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Time = time.Now()
	return c.Core.Write(e, fields)
}
