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

func TestASocketIsFoundByItsAddressOnly(t *testing.T) {
	path := socketPath(t)
	abstract := fmt.Sprintf("@inherit-%d", os.Getpid())
	tcp, f1 := listen(t, "tcp4", "127.0.0.1:0")
	_, f2 := listen(t, "unix", path)
	_, f3 := listen(t, "unix", abstract)
	every, f4 := listen(t, "tcp", "[::]:0")
	_, port, _ := net.SplitHostPort(every.Addr().String())

	s := holding(t, map[*os.File]string{f1: "", f2: "", f3: "x", f4: ""})
	for _, other := range [][2]string{
		{"unix", tcp.Addr().String()}, {"tcp", path}, {"udp", tcp.Addr().String()}, {"tcp", "127.0.0.1:0"},
		{"tcp", "127.0.0.2:" + port}, {"tcp", "0.0.0.0:" + port}, {"tcp", "127.0.0.1:" + port}, {"unix", ""},
		{"unix", path + "x"}, {"unix", strings.TrimPrefix(abstract, "@")}, {"tcp", ""}, {"tcp", "[fe80::1%nowhere]:80"},
	} {
		if f := s.At(other[0], other[1]); f != nil {
			t.Errorf("%s: %s is taken for it", other, f.Name())
			f.Close()
		}
	}
	if n := s.Len(); n != 4 {
		t.Fatalf("%d sockets, want 4", n)
	}
	mapped := "[::ffff:127.0.0.1]" + strings.TrimPrefix(tcp.Addr().String(), "127.0.0.1")
	if got := addressOf(t, s.At("tcp", mapped)); got != tcp.Addr().String() {
		t.Errorf("%s is at %s", mapped, got)
	}
	if got := addressOf(t, s.At("tcp", "[::]:"+port)); got != "[::]:"+port {
		t.Errorf("[::]:%s is at %s", port, got)
	}
	if got := addressOf(t, s.At("unix", path+"/../s")); got != path {
		t.Errorf("%s is at %s", path, got)
	}
	if got := addressOf(t, s.At("unix", abstract)); got != abstract {
		t.Errorf("%s is at %s", abstract, got)
	}
	if f := s.At("tcp", tcp.Addr().String()); f != nil || s.Len() != 0 {
		t.Errorf("one socket is taken twice: %v, and %d are left", f, s.Len())
	}
}

func TestAUnixSocketThatNobodyCanReachIsNotTaken(t *testing.T) {
	path := socketPath(t)
	_, f := listen(t, "unix", path)
	s := holding(t, map[*os.File]string{f: "admin"})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if f := s.At("unix", path); f != nil {
		t.Error("a socket is taken whose path is gone")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := s.At("unix", path); f != nil {
		t.Error("a socket is taken whose path is another file")
	}
	if left := s.Close(); !slices.Equal(left, []string{`"admin" at unix:` + path}) {
		t.Errorf("left: %q", left)
	}
}

func TestWhatNobodyTakesIsClosedAndTold(t *testing.T) {
	orders1, f1 := listen(t, "tcp", "127.0.0.1:0")
	orders2, f2 := listen(t, "tcp", "127.0.0.1:0")
	users, f3 := listen(t, "tcp", "127.0.0.1:0")
	s := holding(t, map[*os.File]string{f1: "orders", f2: "orders", f3: ""})
	if s.Named("") != nil || s.Named("user") != nil {
		t.Error("a socket was taken by a name that is not its own")
	}
	var got []string
	for _, f := range s.Named("orders") {
		if f.Name() != "systemd:orders" {
			t.Errorf("the file is called %q", f.Name())
		}
		got = append(got, addressOf(t, f))
	}
	want := []string{orders1.Addr().String(), orders2.Addr().String()}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("orders: %q, want %q", got, want)
	}
	fd := s.waiting[0].fd
	if left := s.Close(); !slices.Equal(left, []string{users.Addr().String()}) {
		t.Errorf("left: %q", left)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("what was left is not closed: %v", err)
	}
	if left := s.Close(); left != nil || s.Len() != 0 || new(Sockets).Close() != nil {
		t.Errorf("closed again: %q", left)
	}
}

// A taken socket serves as the one that the other process has.
func TestATakenSocketHasTheSameQueue(t *testing.T) {
	l, f := listen(t, "tcp", "127.0.0.1:0")
	s := holding(t, map[*os.File]string{f: ""})
	taken := s.At("tcp", l.Addr().String())
	if taken == nil || taken.Name() != l.Addr().String() {
		t.Fatalf("%v", taken)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("queued before")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	f.Close()
	l.Close()
	if got := serveOne(taken); got != "queued before" {
		t.Errorf("%q", got)
	}
}
