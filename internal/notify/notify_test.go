package notify

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"sidecar/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// listen puts a socket where systemd's would be.
func listen(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify-") //nolint:usetesting // because t.TempDir has the test's name in its path, which is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

func hear(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	text := make([]byte, 1<<12)
	n, err := conn.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(text[:n])
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSystemdHearsTheLifeOfAProcess(t *testing.T) {
	conn := listen(t)
	s := New()
	want := func(message string) {
		t.Helper()
		if got := hear(t, conn); got != message {
			t.Errorf("%q, want %q", got, message)
		}
	}
	must(t, s.Ready(""))
	want("READY=1")
	must(t, s.Status("3 services"))
	want("STATUS=3 services")
	must(t, s.Status("")) // nothing
	must(t, s.Reloading("reloading"))
	got := strings.Split(hear(t, conn), "\n")
	if len(got) != 3 || got[0] != "RELOADING=1" || got[2] != "STATUS=reloading" {
		t.Errorf("%q", got)
	} else if n, err := strconv.ParseUint(strings.TrimPrefix(got[1], "MONOTONIC_USEC="), 10, 64); err != nil || n == 0 {
		t.Errorf("%q: %v", got[1], err)
	}
	must(t, s.Ready("reload refused: config.toml:1: x\nREADY=0"))
	want("READY=1\nSTATUS=reload refused: config.toml:1: x; READY=0")
	must(t, s.Stopping("draining"))
	want("STOPPING=1\nSTATUS=draining")
}

func TestWithoutSystemdNothingIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	s := New()
	must(t, s.Ready("x"))
	must(t, s.Reloading(""))
	must(t, s.Status("x"))
	must(t, s.Stopping(""))
	must(t, s.Watchdog(t.Context(), nil, nil))
}

func TestThatSystemdIsGoneIsAnError(t *testing.T) {
	listen(t).Close()
	if err := New().Ready(""); err == nil || !strings.Contains(err.Error(), "tell systemd") {
		t.Errorf("%v", err)
	}
}

func TestAStatusIsOneLine(t *testing.T) {
	long := strings.Repeat("ü", longestStatus)
	for text, want := range map[string]string{
		"":                     "",
		" \n\n":                "",
		"ready":                "ready",
		"a\nb\r\n\tc\x00d\n\n": "a; b; c d",
		"bad \xff byte":        "bad \ufffd byte",
		long:                   long[:longestStatus-4] + "…",
	} {
		got := oneLine(text)
		if got != want || !utf8.ValidString(got) || len(got) > longestStatus {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A watched is a process under a watchdog, in virtual time.
type watched struct {
	*Systemd
	begin  time.Time
	told   []time.Duration // when systemd heard that it is alive
	errors []string
}

func newWatched(limit time.Duration) *watched {
	w := &watched{begin: time.Now()}
	w.Systemd = &Systemd{
		send: func(message string) error {
			if message != "WATCHDOG=1" {
				return errors.New(message)
			}
			w.told = append(w.told, time.Since(w.begin))
			return nil
		},
		watchdog: func() (time.Duration, error) { return limit, nil },
	}
	return w
}

// run watches for a time.
func (w *watched) run(t *testing.T, d time.Duration, healthy func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	must(t, w.Watchdog(ctx, healthy, func(err error) { w.errors = append(w.errors, err.Error()) }))
}

func seconds(n ...int) (out []time.Duration) {
	for _, s := range n {
		out = append(out, time.Duration(s)*time.Second)
	}
	return out
}

func TestTheWatchdogIsFedTwiceInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(10 * time.Second)
		w.run(t, 16*time.Second, func(context.Context) error { return nil })
		if want := seconds(0, 5, 10, 15); !slices.Equal(w.told, want) || w.errors != nil {
			t.Errorf("%v, %q, want %v", w.told, w.errors, want)
		}
	})
}

func TestTheWatchdogIsNotFedWhileTheProcessIsSick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(10 * time.Second)
		w.run(t, 31*time.Second, func(ctx context.Context) error {
			switch at := time.Since(w.begin); {
			case at < 5*time.Second:
				return nil
			case at < 10*time.Second:
				return errors.New("a loop hangs")
			case at < 15*time.Second: // no answer
				<-ctx.Done()
				return ctx.Err()
			case at < 20*time.Second: // an answer that comes too late
				time.Sleep(6 * time.Second)
				return nil
			}
			return nil
		})
		// What is due at 20s is asked when the late answer has come.
		if want := seconds(0, 21, 25, 30); !slices.Equal(w.told, want) {
			t.Errorf("%v, want %v", w.told, want)
		}
		if want := []string{"a loop hangs", context.DeadlineExceeded.Error(), context.DeadlineExceeded.Error()}; !slices.Equal(w.errors, want) {
			t.Errorf("%q, want %q", w.errors, want)
		}
	})
}

func TestTheWatchdogEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(10 * time.Second)
		w.run(t, 3*time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if len(w.told) > 0 || w.errors != nil || time.Since(w.begin) != 3*time.Second {
			t.Errorf("%v, %q, after %v", w.told, w.errors, time.Since(w.begin))
		}
	})
}

func TestTheTimeOfTheWatchdogIsSystemds(t *testing.T) {
	listen(t)
	for _, c := range []struct{ usec, pid, want string }{
		{"x", "", "systemd's watchdog"},
		{"-5", "", "systemd's watchdog"},
		{"1000000", "1", ""}, // for another process
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		err := New().Watchdog(t.Context(), nil, nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestARealSocketHearsTheWatchdog(t *testing.T) {
	conn := listen(t)
	t.Setenv("WATCHDOG_USEC", "1000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- New().Watchdog(ctx, func(context.Context) error { return nil }, nil) }()
	for range 3 {
		if got := hear(t, conn); got != "WATCHDOG=1" {
			t.Errorf("%q", got)
		}
	}
	cancel()
	must(t, <-done)
}
