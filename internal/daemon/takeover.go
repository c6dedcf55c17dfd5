package daemon

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"go.uber.org/zap"

	"sidecar/internal/inherit"
)

// inode is the number of a file.
func inode(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// handOver tells the process before, if there is one, that this one serves now.
func (d *Daemon) handOver(ctx context.Context) error {
	h := d.options.Handover
	if h == nil {
		return nil
	}
	if err := ctx.Err(); err != nil { // it would leave as well, and nobody stay
		h.Abort()
		return fmt.Errorf("ended before the sidecar that runs (process %d) was told to leave; it goes on: %w", h.PID(), err)
	}
	if err := h.Done(ctx); err != nil {
		return fmt.Errorf("the sidecar that runs (process %d) was not told to leave, and goes on: %w", h.PID(), err)
	}
	for _, k := range d.state.Load().sockets {
		if k.storable() {
			for _, ln := range k.port.open() {
				ln.Own()
			}
		}
	}
	d.log.Info("took over; the process before drains and ends", zap.Int("process", h.PID()))
	return nil
}

// offer waits for a process that wants to take over, until ctx ends.
func (d *Daemon) offer(ctx context.Context) {
	path := d.options.Takeover
	if path == "" {
		return
	}
	err := inherit.Offer(ctx, path, inherit.OfferOptions{
		Sockets: d.offered,
		Taken: func(pid int) {
			d.log.Info("another process has taken over", zap.Int("process", pid))
			d.succeeded.Store(true)
			d.keep()
			d.leaving() // before a reload that waits can begin
			d.quit()
			d.reloading.Unlock()
		},
		Failed: func(err error) {
			d.log.Warn("another process wanted to take over, and did not; this one goes on", zap.Error(err))
			d.reloading.Unlock()
		},
		Listening: func() { d.log.Info("waits for a process that wants to take over", zap.String("at", path)) },
	})
	if err != nil {
		d.log.Error("no process can take over", zap.Error(err))
	}
}

// offered are the sockets that a process gets which takes over. There is no reload until it has.
func (d *Daemon) offered() (all []inherit.Offered, err error) {
	d.reloading.Lock()
	defer func() {
		if err == nil {
			return
		}
		for _, o := range all {
			o.File.Close()
		}
		d.reloading.Unlock()
	}()
	if d.serving.Err() != nil {
		return nil, errStopping
	}
	st := d.state.Load()
	for _, k := range st.sockets {
		name := ""
		if k.address.Network == "systemd" {
			name = k.address.Addr
		}
		for _, ln := range k.port.open() {
			f, err := ln.File()
			if err != nil {
				return all, err
			}
			all = append(all, inherit.Offered{Name: name, File: f})
		}
	}
	if st.admin != nil {
		f, err := st.admin.File()
		if err != nil {
			return all, err
		}
		all = append(all, inherit.Offered{File: f})
	}
	return all, nil
}

// keep leaves to another process what it goes on with: the files of unix sockets, and what was
// announced.
func (d *Daemon) keep() {
	st := d.state.Load()
	for _, k := range st.sockets {
		for _, ln := range k.port.open() {
			ln.Keep()
		}
	}
	for _, a := range st.announced {
		a.registrar.Keep()
	}
	if st.admin != nil {
		st.admin.Keep()
	}
}
