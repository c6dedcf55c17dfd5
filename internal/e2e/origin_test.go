package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// originHeader names the origin that has answered.
const originHeader = "Origin"

// originVariable makes this test binary an origin that listens on the address in it.
const originVariable = "E2E_ORIGIN"

// An origin is an HTTP server inside this process, one instance of a service.
type origin struct {
	name    string
	address string
	served  atomic.Int64
	last    atomic.Int64 // when it was asked last, in Unix nanoseconds
	status  atomic.Int64 // what it answers with
	health  atomic.Int64 // what it answers with on /healthz

	// hold, where it is not nil, holds back the second half of /half, and everything of /wait.
	hold   chan struct{}
	halves chan struct{} // gets a word for each request of these

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// serveOrigin starts an origin on a port that the system chooses.
func serveOrigin(t *testing.T, name string) *origin {
	t.Helper()
	o := &origin{name: name, conns: map[net.Conn]bool{}, hold: make(chan struct{}), halves: make(chan struct{}, 16)}
	o.status.Store(http.StatusOK)
	o.health.Store(http.StatusOK)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.address = ln.Addr().String()
	server := &http.Server{Handler: o, ConnState: o.track}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln) // until it is closed
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	return o
}

func (o *origin) port() int { return portOf(o.address) }

func portOf(address string) int {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return n
}

func (o *origin) track(c net.Conn, s http.ConnState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s == http.StateClosed || s == http.StateHijacked {
		delete(o.conns, c)
	} else {
		o.conns[c] = true
	}
}

// open is how many connections it has.
func (o *origin) open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}

const half = "0123456789abcdef\n"

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(originHeader, o.name)
	if r.URL.Path == "/healthz" {
		w.WriteHeader(int(o.health.Load()))
		return
	}
	o.last.Store(time.Now().UnixNano())
	o.served.Add(1)
	switch r.URL.Path {
	case "/half":
		w.Header().Set("Content-Length", strconv.Itoa(2*len(half)))
		io.WriteString(w, half)
		_ = http.NewResponseController(w).Flush()
		o.pause(r)
		io.WriteString(w, half)
	case "/wait":
		o.pause(r)
		io.WriteString(w, half)
	default:
		w.WriteHeader(int(o.status.Load()))
		fmt.Fprintf(w, "%s answers\n", o.name)
	}
}

func (o *origin) pause(r *http.Request) {
	o.halves <- struct{}{}
	select {
	case <-o.hold:
	case <-r.Context().Done():
	}
}

// originMain is the main function of an origin that is a process of its own, which can be
// killed as real ones are: by SIGKILL, with everything that it has under way. It says where
// it listens on standard output.
func originMain(address string) int {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, ln.Addr())
	name := strconv.Itoa(os.Getpid())
	body := strings.Repeat("x", 128)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(originHeader, name)
		io.WriteString(w, body)
	})}
	fmt.Fprintln(os.Stderr, server.Serve(ln))
	return 1
}

// spawnOrigin starts an origin as a process of its own. The address may be that of one that
// was killed.
func spawnOrigin(t *testing.T, address string) (p *process, at string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = environment(originVariable + "=" + address)
	p = launch(t, cmd)
	within(t, patience, "the origin says where it listens", func() bool {
		if p.ended() {
			t.Fatalf("the origin has ended: %s", &p.err)
		}
		line, err := bufio.NewReader(strings.NewReader(p.out.String())).ReadString('\n')
		at = strings.TrimSpace(line)
		return err == nil
	})
	return p, at
}

// name is what the answers of a spawned origin are marked with.
func (p *process) name() string { return strconv.Itoa(p.cmd.Process.Pid) }

// deadAddress refuses connections for as long as the test runs: the port is taken, by a socket
// that does not listen.
func deadAddress(t *testing.T) string {
	t.Helper()
	return bound(t, func(int) error { return nil })
}

// bound is the address of a socket that does not listen, after what prepare has done to it.
func bound(t *testing.T, prepare func(fd int) error) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := prepare(fd); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}
