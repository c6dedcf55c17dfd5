package inherit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sidecar/internal/leaktest"
)

// roleVariable says what this binary is when a test starts it again.
const roleVariable = "INHERIT_TEST_ROLE"

// TestMain fails when a goroutine or a descriptor is left.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(child(role, os.Args[1:]))
	}
	warmUp()
	before := descriptors()
	code := leaktest.Run(m)
	if after := descriptors(); code == 0 && len(after) > len(before) {
		fmt.Fprintf(os.Stderr, "descriptors before the tests: %q, after: %q\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// warmUp opens what the runtime opens once and keeps.
func warmUp() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	if f, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{}); err == nil {
		f.Wait()
	}
}

func descriptors() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, e.Name()+": "+to)
		}
	}
	return out
}

// A found is what a child has been handed.
type found struct {
	Error     string
	Sockets   []string // what each is
	Inherited bool     // a process of its own got one, or learned of them
	Accepted  string   // what a client of the first one has said
}

// child is the process that a test starts.
func child(role string, args []string) int {
	switch role {
	case "listen":
		json.NewEncoder(os.Stdout).Encode(childListens(args))
	case "takeover":
		return childTakesOver(args[0])
	case "connect": // as another user
		_, _, err := TakeOver(context.Background(), args[0])
		fmt.Println(err)
	}
	return 0
}

func childListens(args []string) (out found) {
	s, err := FromSystemd()
	if err != nil {
		return found{Error: err.Error()}
	}
	for _, k := range s.waiting {
		out.Sockets = append(out.Sockets, k.String())
	}
	cmd := exec.Command("/bin/sh", "-c", "env; ls -l /proc/self/fd")
	listing, err := cmd.CombinedOutput()
	if err != nil {
		return found{Error: err.Error()}
	}
	for _, e := range os.Environ() {
		out.Inherited = out.Inherited || strings.HasPrefix(e, "LISTEN_")
	}
	out.Inherited = out.Inherited || strings.Contains(string(listing), "LISTEN_") || strings.Contains(string(listing), "socket:")
	if len(args) > 0 {
		for _, f := range s.Named(args[0]) {
			out.Accepted += serveOne(f)
		}
	}
	s.Close()
	return out
}

// serveOne accepts a connection and returns what it says.
func serveOne(f *os.File) string {
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		return err.Error()
	}
	defer l.Close()
	c, err := l.Accept()
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	text, _ := io.ReadAll(c)
	return string(text)
}

// childTakesOver takes the sockets and says how many, then waits for a line: "done" completes the
// takeover, and everything else ends the process as it is.
func childTakesOver(path string) int {
	s, h, err := TakeOver(context.Background(), path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(s.Len())
	var word string
	fmt.Scanln(&word)
	if word != "done" {
		return 0
	}
	if err := h.Done(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("alone")
	fmt.Scanln(&word)
	return 0
}

// again is this binary in a role.
func again(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// listen opens a listening socket, as an address and a file.
func listen(t *testing.T, network, address string) (net.Listener, *os.File) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, fileOf(t, l)
}

// fileOf is a duplicate of what a connection or listener lies on.
func fileOf(t *testing.T, of any) *os.File {
	t.Helper()
	f, err := of.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// holding is Sockets that have duplicates of these files under these names.
func holding(t *testing.T, files map[*os.File]string) *Sockets {
	t.Helper()
	s := &Sockets{}
	for f, name := range files {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		k, err := newSocket(fd, name)
		if err != nil {
			t.Fatal(err)
		}
		s.waiting = append(s.waiting, k)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// addressOf is where a taken file listens.
func addressOf(t *testing.T, f *os.File) string {
	t.Helper()
	if f == nil {
		t.Fatal("no socket")
	}
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return l.Addr().String()
}

// shortDir is a folder whose path leaves room for that of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "inherit-") //nolint:usetesting // because t.TempDir has the test's name in its path, which is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func socketPath(t *testing.T) string { return filepath.Join(shortDir(t), "s") }

// patience is when something counts as never to come.
const patience = 30 * time.Second

// until waits for something to be so.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v: %s", patience, what)
		}
	}
}

// await takes what comes from a channel.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic(errors.ErrUnsupported) // t.Fatal does not return
	}
}
