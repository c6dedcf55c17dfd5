package e2e

import (
	"bufio"
	"context"
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

// latencyVariable is what such an origin takes to answer.
const latencyVariable = "E2E_LATENCY"

// An origin is an HTTP server inside this process, one instance of a service.
type origin struct {
	name    string
	address string
	served  atomic.Int64
	last    atomic.Int64 // when it was asked last, in Unix nanoseconds
	status  atomic.Int64 // what it answers with
	health  atomic.Int64 // what it answers with on /healthz
	latency atomic.Int64 // what it takes to answer, a time.Duration
	flaw    atomic.Int64 // every so many answers are status 500; 0: none
	pause   atomic.Int64 // Retry-After of its answers, in seconds; 0: none
	gone    atomic.Int64 // how many requests of /half and /wait were given up by who asked

	// workers, where it is not nil, has as much room as the origin works on requests at a time.
	workers chan struct{}

	// hold, where it is not nil, holds back the second half of /half, and everything of /wait.
	hold   chan struct{}
	halves chan struct{} // gets a word for each request of these

	leave func() // ends it with its connections; the address refuses from then on

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// serveOrigin starts an origin on a port that the system chooses.
func serveOrigin(t *testing.T, name string) *origin {
	t.Helper()
	o := &origin{name: name, conns: map[net.Conn]bool{}, hold: make(chan struct{}), halves: make(chan struct{}, 16)}
	o.status.Store(http.StatusOK)
	o.health.Store(http.StatusOK)
	o.listen(t, "127.0.0.1:0")
	t.Cleanup(func() { o.leave() })
	return o
}

// listen has it serve on an address, also again after leave.
func (o *origin) listen(t *testing.T, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	o.address = ln.Addr().String()
	server, ended := &http.Server{Handler: o, ConnState: o.track}, make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ln) // until it is closed
	}()
	o.leave = func() {
		server.Close()
		<-ended
	}
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
	number := o.served.Add(1)
	if n := o.pause.Load(); n > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(n, 10))
	}
	switch r.URL.Path {
	case "/half":
		w.Header().Set("Content-Length", strconv.Itoa(2*len(half)))
		io.WriteString(w, half)
		_ = http.NewResponseController(w).Flush()
		o.stand(r)
		io.WriteString(w, half)
	case "/wait":
		o.stand(r)
		io.WriteString(w, half)
	case "/head":
		o.work(r.Context())
		w.WriteHeader(int(o.status.Load()))
		r.Header.Write(w)
	default:
		o.work(r.Context())
		if n := o.flaw.Load(); n > 0 && number%n == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		} else {
			w.WriteHeader(int(o.status.Load()))
		}
		fmt.Fprintf(w, "%s answers\n", o.name)
	}
}

// work is what an answer takes.
func (o *origin) work(ctx context.Context) {
	if o.workers != nil {
		select {
		case o.workers <- struct{}{}:
			defer func() { <-o.workers }()
		case <-ctx.Done():
			return
		}
	}
	linger(ctx, time.Duration(o.latency.Load()))
}

// linger passes the time until d is over or ctx has ended.
func linger(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (o *origin) stand(r *http.Request) {
	o.halves <- struct{}{}
	select {
	case <-o.hold:
	case <-r.Context().Done():
		o.gone.Add(1)
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
	latency, _ := time.ParseDuration(os.Getenv(latencyVariable)) // 0 without one
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		linger(r.Context(), latency)
		w.Header().Set(originHeader, name)
		io.WriteString(w, body)
	})}
	fmt.Fprintln(os.Stderr, server.Serve(ln))
	return 1
}

// spawnOrigin starts an origin as a process of its own. The address may be that of one that
// was killed.
func spawnOrigin(t *testing.T, address string, env ...string) (p *process, at string) {
	t.Helper()
	return spawn(t, exec.Command(os.Args[0]), address, env...)
}

// spawn is spawnOrigin by a command that has this binary run.
func spawn(t *testing.T, cmd *exec.Cmd, address string, env ...string) (p *process, at string) {
	t.Helper()
	cmd.Env = environment(append(env, originVariable+"="+address)...)
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
