package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A supervisor is what a sidecar takes for systemd: the socket that it tells how it is. It keeps
// the descriptors that it is given, as systemd's store does.
type supervisor struct {
	t     *testing.T
	path  string
	conn  *net.UnixConn
	names []string // of the kept sockets
	files []*os.File
}

func supervise(t *testing.T) *supervisor {
	t.Helper()
	path := filepath.Join(folder(t), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	v := &supervisor{t: t, path: path, conn: conn}
	t.Cleanup(func() {
		conn.Close()
		for _, f := range v.files {
			f.Close()
		}
	})
	return v
}

func (v *supervisor) env(more ...string) []string { return append(more, "NOTIFY_SOCKET="+v.path) }

// hear returns the next message, within a time; ok is false if there is none.
func (v *supervisor) hear(limit time.Duration) (message map[string]string, ok bool) {
	v.t.Helper()
	if err := v.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		v.t.Fatal(err)
	}
	text, control := make([]byte, 1<<13), make([]byte, 1<<10)
	n, c, _, _, err := v.conn.ReadMsgUnix(text, control)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, false
	}
	if err != nil {
		v.t.Fatal(err)
	}
	message = map[string]string{}
	for line := range strings.SplitSeq(string(text[:n]), "\n") {
		name, value, _ := strings.Cut(line, "=")
		message[name] = value
	}
	v.keep(message, control[:c])
	return message, true
}

// keep is systemd's store.
func (v *supervisor) keep(message map[string]string, control []byte) {
	v.t.Helper()
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		v.t.Fatal(err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			v.t.Fatal(err)
		}
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), message["FDNAME"])
			if message["FDSTORE"] != "1" {
				f.Close()
				if _, ok := message["BARRIER"]; ok {
					continue // all before it is done
				}
				v.t.Errorf("a descriptor without FDSTORE=1: %q", message)
				continue
			}
			v.names, v.files = append(v.names, message["FDNAME"]), append(v.files, f)
		}
	}
	if message["FDSTOREREMOVE"] == "1" {
		for i := len(v.names) - 1; i >= 0; i-- {
			if v.names[i] == message["FDNAME"] {
				v.files[i].Close()
				v.names, v.files = append(v.names[:i], v.names[i+1:]...), append(v.files[:i], v.files[i+1:]...)
			}
		}
	}
}

// await hears until a message has what is wanted, "READY=1" or the beginning of a value.
func (v *supervisor) await(wants ...string) map[string]string {
	v.t.Helper()
	var heard []map[string]string
	for deadline := time.Now().Add(patience); ; {
		message, ok := v.hear(time.Until(deadline))
		if !ok {
			v.t.Fatalf("no %q, but %v", wants, heard)
		}
		heard = append(heard, message)
		all := true
		for _, want := range wants {
			name, value, _ := strings.Cut(want, "=")
			got, there := message[name]
			all = all && there && strings.HasPrefix(got, value)
		}
		if all {
			return message
		}
	}
}

// handing starts a command as systemd would that hands over what it keeps: the number of the process
// is known when it exists, so a shell sets it.
func (v *supervisor) handing(cmd *exec.Cmd) *exec.Cmd {
	out := exec.Command("/bin/sh", append([]string{"-c", `export LISTEN_PID=$$; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)...)
	out.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(v.files)), "LISTEN_FDNAMES="+strings.Join(v.names, ":"))
	out.ExtraFiles = v.files
	return out
}

func TestTheSupervisorIsToldHowTheSidecarIs(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	v := supervise(t)
	cmd, admin := prepare(t, listening("orders", reserve(t), o), v.env()...)
	s := startCommand(t, cmd, admin)
	v.await("READY=1")
	v.await("STATUS=ready")
	file := cmd.Args[len(cmd.Args)-1]

	// A reload, of what is good and of what is not.
	before := monotonic(t)
	s.signal(syscall.SIGHUP)
	message := v.await("RELOADING=1")
	var at int64
	if _, err := fmt.Sscan(message["MONOTONIC_USEC"], &at); err != nil || at < before || at > monotonic(t) {
		t.Errorf("the reload began at %q, want a time from %d on", message["MONOTONIC_USEC"], before)
	}
	v.await("READY=1")
	if err := os.WriteFile(file, []byte("[[service]]\nname = \"orders\"\nlisten = \"nowhere\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	v.await("RELOADING=1")
	if message := v.await("READY=1"); !strings.Contains(message["STATUS"], "config.toml:3: ") {
		t.Errorf("behind a reload that was refused the status is %q", message["STATUS"])
	}

	s.signal(syscall.SIGTERM)
	v.await("STOPPING=1")
	s.wait()
}

// monotonic is the time since the system's start in microseconds, as systemd counts it.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

func TestTheWatchdogHearsOfAProcessThatRunsOnly(t *testing.T) {
	t.Parallel()
	v := supervise(t)
	cmd, admin := prepare(t, static("orders", "", "127.0.0.1:1"), v.env("WATCHDOG_USEC=100000")...)
	s := startCommand(t, cmd, admin)
	for range 3 {
		v.await("WATCHDOG=1")
	}
	s.signal(syscall.SIGSTOP)
	within(t, patience, "it has stopped", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, state, _ := strings.Cut(string(text), ") ")
		return strings.HasPrefix(state, "T")
	})
	for { // what it has said before
		if _, ok := v.hear(time.Second); !ok {
			break
		}
	}
	s.signal(syscall.SIGCONT)
	v.await("WATCHDOG=1")
}

// The process is killed, and another one started with what the store has: nobody is refused, also
// who comes in between.
func TestTheStoreKeepsSocketsWhileThereIsNoProcess(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	v := supervise(t)
	address, gone := reserve(t), reserve(t)
	config := listening("orders", address, o)
	cmd, admin := prepare(t, config+listening("users", gone, o), v.env()...)
	s := startCommand(t, cmd, admin)
	v.await("READY=1")
	s.checked = true
	s.kill()
	waiting := connect(t, address)
	if err := waiting.send("/"); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(cmd.Args[len(cmd.Args)-1], []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	next := startCommand(t, v.handing(&exec.Cmd{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env}), admin)
	if a, err := waiting.receive(); err != nil || a.status != http.StatusOK {
		t.Errorf("who came while there was no process: %+v, %v", a, err)
	}
	wantOK(t, address)
	// Nobody listens at the other one any more.
	// The store is told so: its own duplicate would keep clients waiting for ever.
	_, port, _ := net.SplitHostPort(gone)
	within(t, patience, "the store has it no more", func() bool {
		v.hear(time.Millisecond)
		return !slices.ContainsFunc(v.names, func(name string) bool { return strings.HasSuffix(name, port) })
	})
	within(t, patience, "the log says that the socket of users is closed", func() bool {
		v.hear(time.Millisecond)
		log := next.err.String()
		return strings.Contains(log, "in no service's listen") && strings.Contains(log, gone)
	})
}
