// Package notify tells systemd how the process is.
//
//	start ──> Ready ──> Reloading ──> Ready ──> Stopping
//	            │  Status: one line for `systemctl status`, at any time
//	            └─ Watchdog: that it is alive, as long as it is
//
// The messages are those of sd_notify(3). Where systemd is not there, which is where
// $NOTIFY_SOCKET is not set, nothing is told and nothing is wrong.
package notify

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
)

// longestStatus is how long a status may be, in bytes; it is cut there. It is for one line of
// somebody's terminal.
const longestStatus = 500

// A Systemd is the service manager that has started this process, if one has. Its methods may be
// called from any goroutine. Their errors say that systemd could not be told, which is nothing that
// a process should end for.
type Systemd struct {
	send     func(message string) error
	now      func() string // the time as an assignment, and "" where there is none
	watchdog func() (time.Duration, error)
}

// New returns the Systemd of this process.
func New() *Systemd {
	return &Systemd{
		send: func(message string) error {
			_, err := sdnotify.SdNotify(false, message)
			return err
		},
		now:      sdnotify.SdNotifyMonotonicUsec,
		watchdog: func() (time.Duration, error) { return sdnotify.SdWatchdogEnabled(false) },
	}
}

// Ready says that the process serves, at the start and behind a reload; status is as in Status,
// and left as it was if it is empty.
func (s *Systemd) Ready(status string) error {
	return s.tell(sdnotify.SdNotifyReady, status)
}

// Reloading says that a reload has begun. Ready has to follow, however the reload ends: systemd
// waits for it.
func (s *Systemd) Reloading(status string) error {
	// The time tells systemd (253 and newer, Type=notify-reload) which signal this belongs to.
	return s.tell(sdnotify.SdNotifyReloading+"\n"+strings.TrimSuffix(s.now(), "\n"), status)
}

// Stopping says that the process drains and ends.
func (s *Systemd) Stopping(status string) error {
	return s.tell(sdnotify.SdNotifyStopping, status)
}

// Status is one line that `systemctl status` shows until the next one. Line breaks become "; ",
// other control characters blanks, and what is beyond 500 bytes is cut. An empty line changes
// nothing.
func (s *Systemd) Status(line string) error { return s.tell("", line) }

// tell sends a state, or none, and a status, or none.
func (s *Systemd) tell(state, status string) error {
	message := strings.Trim(state, "\n")
	if line := oneLine(status); line != "" {
		if message != "" {
			message += "\n"
		}
		message += "STATUS=" + line
	}
	if message == "" {
		return nil
	}
	if err := s.send(message); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}

// oneLine makes one line of a text: another one would be an assignment of its own to systemd.
func oneLine(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.Map(func(r rune) rune { // which also mends what is not UTF-8
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, line)
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	out := strings.Join(lines, "; ")
	if len(out) <= longestStatus {
		return out
	}
	out = out[:longestStatus-len("…")]
	for !utf8.ValidString(out) {
		out = out[:len(out)-1]
	}
	return out + "…"
}

// Watchdog tells systemd that the process is alive, at once and then twice in every WatchdogSec=
// of the unit, until ctx ends; systemd restarts the process if it hears nothing for that long.
// Before each time healthy is asked, which has half of WatchdogSec= to answer nil, by its
// ctx: otherwise nothing is told this time, and sick (if not nil) hears why. Both are called from
// the calling goroutine.
//
// It returns nil when ctx has ended, and at once where the unit has no WatchdogSec=; an error
// if systemd's word for that time is no time.
func (s *Systemd) Watchdog(ctx context.Context, healthy func(ctx context.Context) error, sick func(error)) error {
	limit, err := s.watchdog()
	if err != nil {
		return fmt.Errorf("systemd's watchdog: %w", err)
	}
	if limit == 0 {
		return nil
	}
	// Systemd counts in microseconds, and a ticker in no less than one nanosecond.
	interval := max(limit/2, time.Microsecond)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		err := inTime(ctx, interval, healthy)
		if err == nil {
			err = s.tell(sdnotify.SdNotifyWatchdog, "")
		}
		if err != nil && ctx.Err() == nil && sick != nil {
			sick(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// inTime asks healthy, and takes an answer that comes too late for none.
func inTime(ctx context.Context, limit time.Duration, healthy func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := healthy(ctx); err != nil {
		return err
	}
	return ctx.Err()
}
