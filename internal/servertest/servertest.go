// Package servertest runs real servers for tests: etcd and Redis, as Debian installs them.
//
//	server := servertest.Etcd(t)     // one member with a leader, gone when t ends
//	dial(server.Address())
//	server.Stop(); server.Start()    // the registry goes away and comes back
//	server.Pause(); server.Resume()  // it accepts connections, and answers nothing
//
// A test fails, and says what to install, where a server is missing. Nothing here is part of
// the sidecar.
package servertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is when a condition that is polled counts as never to come. It is generous, for
// machines that are busy with other tests.
const patience = 60 * time.Second

// A Server is a process that listens on ports of 127.0.0.1. Its methods fail the test when
// something goes wrong, and are for the test's goroutine. It is killed when the test ends;
// the end of its log is part of the output of a test that has failed.
type Server struct {
	t      testing.TB
	kind   kind
	binary string
	dir    string // of its data and log
	args   []string
	port   int // the first of kind.ports in a row

	process *os.Process
	done    chan struct{} // closed when the process has ended; nil: never started
}

// A kind is one sort of server.
type kind struct {
	name    string // as messages call it
	binary  string
	install string // what installs the binary
	ports   int    // how many it needs
	// command is what it is started with, in front of what the test adds.
	command func(s *Server) []string
	// ready tells whether it answers.
	ready func(s *Server) bool
}

// start makes a Server and waits until it answers.
func start(t testing.TB, k kind, args []string) *Server {
	t.Helper()
	s := &Server{t: t, kind: k, args: args, dir: t.TempDir()}
	var err error
	if s.binary, err = exec.LookPath(k.binary); err != nil {
		t.Fatalf("servertest: %v; install it: %s", err, k.install)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("log of %s at %s:\n%s", k.name, s.Address(), s.logTail())
		}
	})
	for range 5 {
		if s.port, err = freePorts(k.ports); err != nil {
			break
		}
		// The data may name the ports that somebody has taken in between.
		if err = os.RemoveAll(s.data()); err != nil {
			break
		}
		if err = s.run(); err == nil {
			return s
		}
	}
	t.Fatalf("servertest: %v", err)
	return nil
}

// Address is the host:port where it listens for clients. It stays the same over Stop and Start.
func (s *Server) Address() string { return s.address(0) }

// address is that of its port number i.
func (s *Server) address(i int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port+i))
}

// Dir is the folder that only this server uses.
func (s *Server) Dir() string { return s.dir }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Start runs it again, with the same address, arguments and data, and waits until it answers.
// It does nothing when the server runs.
func (s *Server) Start() {
	s.t.Helper()
	if s.running() {
		return
	}
	var err error
	for range 5 {
		if err = s.run(); err == nil {
			return
		}
	}
	s.t.Fatalf("servertest: %v", err)
}

// Stop kills it, as a machine that loses its power would, and waits until it has ended. It
// does nothing when the server does not run.
func (s *Server) Stop() {
	if s.done == nil {
		return
	}
	_ = s.process.Kill() // it may have ended already
	<-s.done
}

// Pause stops it from doing anything, as a machine that hangs would: the kernel goes on to
// accept connections and to take in what comes, and nothing is answered. It returns when all
// threads have stopped, which is not so yet when the signal is sent.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); !s.stopped(); <-poll.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("servertest: %s has not stopped after %v", s.kind.name, patience)
		}
	}
}

// stopped tells whether all threads are in state T.
func (s *Server) stopped() bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.process.Pid))
	if err != nil || len(files) == 0 {
		return false
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		// PID (name) state …, and the name may hold anything.
		if i := strings.LastIndex(string(text), ") "); err != nil || i < 0 || !strings.HasPrefix(string(text[i:]), ") T ") {
			return false
		}
	}
	return true
}

// Resume ends Pause.
func (s *Server) Resume() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig os.Signal) {
	s.t.Helper()
	if !s.running() {
		s.t.Fatalf("servertest: %s does not run:\n%s", s.kind.name, s.logTail())
	}
	if err := s.process.Signal(sig); err != nil {
		s.t.Fatalf("servertest: %s: %v", s.kind.name, err)
	}
}

func (s *Server) running() bool {
	if s.done == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// run runs the process until it answers or has ended.
func (s *Server) run() error {
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	//nolint:noctx // because the process is killed by Stop, which a context would do behind its back
	cmd := exec.Command(s.binary, append(s.kind.command(s), s.args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	// Not even a test process that is killed leaves a server behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done, started := make(chan struct{}), make(chan error)
	go func() {
		// The signal comes when the thread ends that has started the process (go.dev/issue/27505):
		// this one stays for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed, as a rule
		}
		close(done)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process, s.done = cmd.Process, done
	return s.wait()
}

// wait returns when the process answers, or has ended.
func (s *Server) wait() error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); !s.kind.ready(s); {
		select {
		case <-s.done:
			return fmt.Errorf("%s has ended:\n%s", s.kind.name, s.logTail())
		case <-poll.C:
		}
		if time.Now().After(deadline) {
			s.Stop()
			return fmt.Errorf("%s does not answer after %v:\n%s", s.kind.name, patience, s.logTail())
		}
	}
	// Somebody else may be who answers, when this one has found its port taken.
	if !s.running() {
		return fmt.Errorf("%s has ended:\n%s", s.kind.name, s.logTail())
	}
	return nil
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

func (s *Server) logTail() string {
	text, _ := os.ReadFile(s.logFile())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// FreePort returns a port of 127.0.0.1 on which nobody listens, over TCP and UDP. It lies
// below those that the kernel gives to outgoing connections.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePorts(1)
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	return port
}

// freePorts returns the first of n ports in a row that nobody listens on. None of them can be
// taken by an outgoing connection while a server is stopped.
func freePorts(n int) (int, error) {
	for range 100 {
		first := 20000 + rand.N(12000)
		if free(first, n) {
			return first, nil
		}
	}
	return 0, errors.New("no free ports on 127.0.0.1 from 20000 to 32000")
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IP{127, 0, 0, 1}, Port: port})
		if err != nil {
			return false
		}
		l.Close()
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IP{127, 0, 0, 1}, Port: port})
		if err != nil {
			return false
		}
		u.Close()
	}
	return true
}
