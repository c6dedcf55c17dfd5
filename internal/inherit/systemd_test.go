package inherit

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asSystemd starts a child with descriptors from 3 on, as systemd would: the number of the process
// is known only when it exists, so a shell sets it.
func asSystemd(t *testing.T, files []*os.File, env ...string) found {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `export LISTEN_PID=$$; exec "$0"`, os.Args[0])
	cmd.Env = append(append(os.Environ(), roleVariable+"=listen"), env...)
	cmd.ExtraFiles = files
	return run(t, cmd)
}

func run(t *testing.T, cmd *exec.Cmd) (out found) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

func TestAProcessGetsItsSocketsWithTheirNames(t *testing.T) {
	path := socketPath(t)
	tcp, f1 := listen(t, "tcp", "127.0.0.1:0")
	_, f2 := listen(t, "unix", path)
	tcp6, f3 := listen(t, "tcp", "[::1]:0")

	got := asSystemd(t, []*os.File{f1, f2, f3}, "LISTEN_FDS=3", "LISTEN_FDNAMES=orders:admin:orders", "LISTEN_PIDFDID=1")
	want := []string{
		`"orders" at ` + tcp.Addr().String(),
		`"admin" at unix:` + path,
		`"orders" at ` + tcp6.Addr().String(),
	}
	if got.Error != "" || !slices.Equal(got.Sockets, want) {
		t.Errorf("%+v, want %q", got, want)
	}
	if got.Inherited {
		t.Error("a process that the child starts has the sockets, or variables that tell of them")
	}

	if got := asSystemd(t, []*os.File{f1}, "LISTEN_FDS=1"); !slices.Equal(got.Sockets, []string{`"unknown" at ` + tcp.Addr().String()}) {
		t.Errorf("without names: %+v", got)
	}
	if got := asSystemd(t, nil, "LISTEN_FDS=0", "LISTEN_FDNAMES="); got.Error != "" || len(got.Sockets) != 0 || got.Inherited {
		t.Errorf("without sockets: %+v", got)
	}
}

// A unit's socket that was found by its address is in the store, too.
func TestASocketThatComesTwiceIsThereOnce(t *testing.T) {
	l, f := listen(t, "tcp", "127.0.0.1:0")
	_, other := listen(t, "tcp", "127.0.0.1:0")
	got := asSystemd(t, []*os.File{f, other, f}, "LISTEN_FDS=3", "LISTEN_FDNAMES=orders:users:"+StoreName("tcp", l.Addr().String()))
	if len(got.Sockets) != 2 || got.Sockets[0] != `"orders" at `+l.Addr().String() || got.Inherited {
		t.Errorf("%+v", got)
	}
	// Two sockets at one address are two.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
			return e
		}
		return err
	}}
	one, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := config.Listen(t.Context(), "tcp", one.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if got := asSystemd(t, []*os.File{fileOf(t, one), fileOf(t, two)}, "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"); len(got.Sockets) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestWhatDoesNotListenIsNamed(t *testing.T) {
	datagram, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	l, listening := listen(t, "tcp", "127.0.0.1:0")
	connected, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()

	files := []*os.File{fileOf(t, datagram), listening, fileOf(t, connected), null}
	got := asSystemd(t, files, "LISTEN_FDS=4", "LISTEN_FDNAMES=dns:good:conn:null")
	for _, part := range []string{
		`"dns" (descriptor 3) is a datagram socket`,
		`"conn" (descriptor 5) at ` + connected.LocalAddr().String() + " does not listen",
		`"null" (descriptor 6) is no socket`,
	} {
		if !strings.Contains(got.Error, part) {
			t.Errorf("error %q, want one with %q", got.Error, part)
		}
	}
	if strings.Contains(got.Error, "good") {
		t.Errorf("error %q is about a socket that listens", got.Error)
	}
}

func TestVariablesThatDoNotFitAreAnError(t *testing.T) {
	self := os.Getpid()
	me := strconv.Itoa(self)
	for _, c := range []struct{ pid, count, names, want string }{
		{"x", "1", "", `LISTEN_PID is "x"`},
		{"-1", "1", "", `LISTEN_PID is "-1"`},
		{me, "x", "", `LISTEN_FDS is "x"`},
		{me, "-1", "", `LISTEN_FDS is "-1"`},
		{me, "99999999999999999999", "", "LISTEN_FDS is"},
		{me, "2", "", "descriptor 50001 is not open"},
		{me, "0", "a:b", `LISTEN_FDNAMES is "a:b", which has 2 names`},
	} {
		// Descriptors so high that none is open.
		s, err := receive(50001, self, c.pid, c.count, c.names)
		if err == nil || !strings.Contains(err.Error(), c.want) || s != nil {
			t.Errorf("%+v: %v, %v", c, s, err)
		}
	}
	for _, c := range []struct{ pid, count string }{{"", "1"}, {me, ""}, {strconv.Itoa(self + 1), "1"}, {me, "0"}} {
		if s, err := receive(50001, self, c.pid, c.count, ""); err != nil || s.Len() != 0 {
			t.Errorf("%+v: %v, %v, want no sockets", c, s, err)
		}
	}
}

func TestNamesThatDoNotFitCloseTheSockets(t *testing.T) {
	_, f := listen(t, "tcp", "127.0.0.1:0")
	got := asSystemd(t, []*os.File{f}, "LISTEN_FDS=1", "LISTEN_FDNAMES=a:b")
	if !strings.Contains(got.Error, `LISTEN_FDNAMES is "a:b", which has 2 names, and LISTEN_FDS is 1`) {
		t.Errorf("%+v", got)
	}
}

// The real tool hands over what clients connect to.
func TestSystemdSocketActivate(t *testing.T) {
	activate, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("NOT TESTED: sockets from the real systemd-socket-activate (Debian: systemd)")
	}
	dir := shortDir(t)
	cmd := exec.CommandContext(t.Context(), activate, "--listen="+dir+"/orders", "--listen="+dir+"/users",
		"--fdname=orders:users", "--setenv="+roleVariable+"=listen", os.Args[0], "orders")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	var c net.Conn
	until(t, "systemd-socket-activate listens", func() bool {
		c, err = net.Dial("unix", dir+"/orders")
		return err == nil
	})
	if _, err := io.WriteString(c, "for orders"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var got found
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s%s", err, &stdout, &stderr)
	}
	want := []string{`"orders" at unix:` + dir + "/orders", `"users" at unix:` + dir + "/users"}
	if got.Error != "" || !slices.Equal(got.Sockets, want) || got.Accepted != "for orders" || got.Inherited {
		t.Errorf("%+v", got)
	}
}
