package daemon

import (
	"context"
	"os"
	"time"
)

// configEvery is how often the configuration file is looked at, with runtime.watch_config.
const configEvery = time.Second

// A stamp tells one version of a file from another.
type stamp struct {
	size int64
	at   time.Time
	file uint64
}

// watchConfig reloads when the configuration file has changed, until ctx ends. It looks instead of
// being told: that works with links that are swapped and on every file system. A file counts when it
// has stayed the same from one look to the next, so that a half-written one does not.
func (d *Daemon) watchConfig(ctx context.Context) {
	if d.options.File == "" {
		return
	}
	applied := stampOf(d.options.File)
	last := applied
	tick := time.NewTicker(configEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := stampOf(d.options.File)
		settled := now == last
		last = now
		if !settled || now == applied || now == (stamp{}) || !d.state.Load().config.Runtime.WatchConfig {
			continue
		}
		applied = now
		_, _ = d.Reload(ctx) // which says what comes of it
	}
}

// stampOf is the zero stamp of a file that is not there.
func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime(), inode(info)}
}
