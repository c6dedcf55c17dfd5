package daemon

import (
	"context"
	"time"

	"go.uber.org/zap"

	"sidecar/accesslog"
	"sidecar/metrics"
)

// accessLogGrace is how long the access log's output may take for what is left.
const accessLogGrace = 2 * time.Second

// openAccessLog opens the access log, if there is to be one.
func (d *Daemon) openAccessLog() error {
	c := &d.config.AccessLog
	if c.Path == "" {
		return nil
	}
	loops := d.group.Loops()
	l, err := accesslog.New(accesslog.Options{
		Path: c.Path, Format: c.Format, Buffer: c.Buffer, Log: d.log,
		Loops: len(loops), Post: func(loop int, fn func()) bool { return loops[loop].Post(fn) },
	})
	if err != nil {
		return err
	}
	d.accessLog = l
	d.metrics.ObserveAccessLog(func(emit func(metrics.AccessLogSample)) {
		n := l.Counts()
		emit(metrics.AccessLogSample{Lines: n.Lines, Dropped: n.Dropped, WriteErrors: n.WriteErrors})
	})
	return nil
}

// ReopenAccessLog opens the access log's file anew, after it has been moved away. It may be
// called from any goroutine while the daemon runs; without an access log it does nothing.
func (d *Daemon) ReopenAccessLog() {
	if d.accessLog == nil {
		return
	}
	if err := d.accessLog.Reopen(); err != nil {
		d.log.Error("access log could not be opened anew; the old file stays in use", zap.Error(err))
		return
	}
	d.log.Info("access log opened anew")
}

// closeAccessLog writes what is left. The loops have ended.
func (d *Daemon) closeAccessLog() {
	ctx, cancel := context.WithTimeout(context.Background(), accessLogGrace)
	defer cancel()
	if err := d.accessLog.Close(ctx); err != nil {
		d.log.Warn("access log did not take its last lines in time; they are dropped", zap.Error(err))
	}
}
