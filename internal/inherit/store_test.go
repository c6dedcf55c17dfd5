package inherit

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A fakeSystemd listens where systemd would.
type fakeSystemd struct {
	t    *testing.T
	conn *net.UnixConn
}

func newFakeSystemd(t *testing.T) *fakeSystemd {
	t.Helper()
	path := socketPath(t)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &fakeSystemd{t, conn}
}

// hear returns the next message, and the sockets that came with it.
func (s *fakeSystemd) hear() (lines []string, sockets *Sockets) {
	s.t.Helper()
	text, control := make([]byte, 1<<12), make([]byte, 1<<10)
	n, c, _, _, err := s.conn.ReadMsgUnix(text, control)
	if err != nil {
		s.t.Fatal(err)
	}
	rights, err := rightsIn(control[:c])
	if err != nil {
		s.t.Fatal(err)
	}
	sockets = &Sockets{}
	s.t.Cleanup(func() { sockets.Close() })
	for _, fd := range rights {
		k, err := newSocket(fd, "")
		if err != nil {
			s.t.Fatal(err)
		}
		sockets.waiting = append(sockets.waiting, k)
	}
	return strings.Split(string(text[:n]), "\n"), sockets
}

// hearBarrier returns the descriptor that systemd closes when it has done all that came before.
func (s *fakeSystemd) hearBarrier() int {
	s.t.Helper()
	text, control := make([]byte, 1<<12), make([]byte, 1<<10)
	n, c, _, _, err := s.conn.ReadMsgUnix(text, control)
	if err != nil || string(text[:n]) != "BARRIER=1" {
		s.t.Fatalf("%q, %v", text[:n], err)
	}
	rights, err := rightsIn(control[:c])
	if err != nil || len(rights) != 1 {
		s.t.Fatalf("%v, %v", rights, err)
	}
	return rights[0]
}

func TestSystemdKeepsAndForgetsASocket(t *testing.T) {
	systemd := newFakeSystemd(t)
	l, f := listen(t, "tcp", "127.0.0.1:0")
	name := StoreName("tcp", l.Addr().String())
	if err := Store(f, name); err != nil {
		t.Fatal(err)
	}
	lines, sockets := systemd.hear()
	slices.Sort(lines)
	if want := []string{"FDNAME=" + name, "FDPOLL=0", "FDSTORE=1"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
	if f := sockets.At("tcp", l.Addr().String()); f == nil {
		t.Errorf("what systemd keeps is %v", sockets.Close())
	} else {
		f.Close()
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("the socket blocks now: flags %#x, %v", flags, err)
		}
	}); err != nil {
		t.Fatal(err)
	}

	if err := Unstore(name); err != nil {
		t.Fatal(err)
	}
	lines, sockets = systemd.hear()
	slices.Sort(lines)
	if want := []string{"FDNAME=" + name, "FDSTOREREMOVE=1"}; !slices.Equal(lines, want) || sockets.Len() != 0 {
		t.Errorf("%q with %d sockets, want %q", lines, sockets.Len(), want)
	}
}

// The store's duplicate would keep clients waiting for somebody who accepts.
func TestWhatNobodyTakesLeavesTheStore(t *testing.T) {
	systemd := newFakeSystemd(t)
	l, f := listen(t, "tcp", "127.0.0.1:0")
	name := StoreName("tcp", l.Addr().String())
	want := []string{fmt.Sprintf("%q at %s", name, l.Addr())}
	s := holding(t, map[*os.File]string{f: name})
	if left := s.Close(); !slices.Equal(left, want) {
		t.Errorf("%q", left)
	}
	// That one came from another process, and was not systemd's. This one is.
	s = holding(t, map[*os.File]string{f: name})
	s.stored = true
	closed := make(chan []string)
	go func() { closed <- s.Close() }()
	lines, _ := systemd.hear()
	slices.Sort(lines)
	if want := []string{"FDNAME=" + name, "FDSTOREREMOVE=1"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
	barrier := systemd.hearBarrier()
	select {
	case left := <-closed:
		t.Errorf("%q before systemd has done it", left)
	default:
	}
	unix.Close(barrier)
	if left := await(t, closed, "Close returns"); !slices.Equal(left, want) {
		t.Errorf("%q", left)
	}

	t.Setenv("NOTIFY_SOCKET", "/no/such/socket")
	s = holding(t, map[*os.File]string{f: name})
	s.stored = true
	if left := s.Close(); len(left) != 1 || !strings.Contains(left[0], "systemd still has it") {
		t.Errorf("%q", left)
	}
}

func TestWithoutSystemdNothingIsKept(t *testing.T) {
	_, f := listen(t, "tcp", "127.0.0.1:0")
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Store(f, "a"); err != nil {
		t.Error(err)
	}
	if err := Unstore("a"); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", socketPath(t))
	if err := Store(f, "a"); err == nil {
		t.Error("nobody is there, and no error")
	}
	t.Setenv("NOTIFY_SOCKET", "vsock:2:1")
	if err := Unstore("a"); err == nil || !strings.Contains(err.Error(), "vsock:2:1") {
		t.Errorf("%v", err)
	}
	f.Close()
	if err := Store(f, "a"); err == nil {
		t.Error("a closed file is kept")
	}
}

func TestStoresTellsWhetherThereIsAStore(t *testing.T) {
	for _, c := range []struct {
		socket, store string
		set, want     bool
	}{
		{"/run/x", "", false, true},
		{"", "", false, false},
		{"/run/x", "512", true, true},
		{"/run/x", "0", true, false},
		{"/run/x", "", true, false},
		{"/run/x", "-1", true, false},
	} {
		t.Setenv("NOTIFY_SOCKET", c.socket)
		t.Setenv("FDSTORE", c.store)
		if !c.set {
			os.Unsetenv("FDSTORE")
		}
		if got := Stores(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestNamesAreLegalAndApart(t *testing.T) {
	long := "/" + strings.Repeat("ü", 120)
	seen := map[string]bool{}
	for _, a := range [][2]string{
		{"tcp", "127.0.0.1:7001"}, {"tcp", "127.0.0.1:70"}, {"tcp", "[::1]:7001"}, {"unix", "/run/sidecar/a"}, {"unix", "/run/sidecar/a b"},
		{"unix", "/run/sidecar/a%20b"}, {"unix", "@a"}, {"unix", long}, {"unix", long + "x"}, {"tcp", "@a"},
	} {
		name := StoreName(a[0], a[1])
		if err := checkName(name); err != nil || seen[name] {
			t.Errorf("%s: %q, %v", a, name, err)
		}
		seen[name] = true
	}
	if got := StoreName("tcp", "127.0.0.1:7001"); got != "tcp-127.0.0.1%3A7001" {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"", "a:b", "a\nFDSTORE=1", "ü", strings.Repeat("a", 256)} {
		if err := Store(os.Stdin, bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
		if err := Unstore(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
