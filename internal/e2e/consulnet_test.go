package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A strait is the way to a server that a test can cut: a relay in a network namespace of its own,
// with a pair of virtual interfaces in between. What comes to it there goes on from our namespace.
type strait struct {
	*remote
	here   string            // the address of our end
	inside chan func() error // what is to be done in the namespace
	done   chan error
}

// serveStrait leads to an address. Where namespaces are not allowed, the test is skipped.
func serveStrait(t *testing.T, to string) *strait {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("NOT TESTED, dropped packets: a network namespace is needed, and to make one takes ip (Debian: iproute2)")
	}
	here, there := freePair(t)
	s := &strait{here: here, inside: make(chan func() error), done: make(chan error),
		remote: &remote{t: t, device: fmt.Sprintf("e2e%08x", rand.Uint32()), there: there}}
	go s.dwell()
	t.Cleanup(func() {
		close(s.inside)
		<-s.done
	})
	if err := <-s.done; err != nil {
		t.Skipf("NOT TESTED, dropped packets: a network namespace is needed, and to make one takes root with CAP_SYS_ADMIN: %v", err)
	}
	var thread int
	s.within(func() error {
		thread = syscall.Gettid()
		return nil
	})
	s.run("ip", "link", "add", s.device, "type", "veth", "peer", "name", "e0", "netns", strconv.Itoa(thread))
	t.Cleanup(func() { s.run("ip", "link", "del", s.device) })
	s.run("ip", "addr", "add", here+"/30", "dev", s.device)
	s.run("ip", "link", "set", s.device, "up")
	s.within(commandLine("ip", "addr", "add", there+"/30", "dev", "e0"))
	s.within(commandLine("ip", "link", "set", "e0", "up"))
	var ln net.Listener
	s.within(func() (err error) { // a socket stays in the namespace where it was made, whoever uses it
		ln, err = new(net.ListenConfig).Listen(t.Context(), "tcp", there+":0")
		return err
	})
	s.remote.address = ln.Addr().String()
	relay(t, ln, to)
	within(t, patience, "the relay is reached", func() bool {
		c, err := net.DialTimeout("tcp", s.remote.address, soon)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return s
}

// dwell is a thread in a namespace of its own, until inside is closed.
func (s *strait) dwell() {
	defer close(s.done)
	runtime.LockOSThread() // for ever: the thread ends with the goroutine, and no other one gets it
	s.done <- unix.Unshare(unix.CLONE_NEWNET)
	for do := range s.inside {
		s.done <- do()
	}
}

// within has something done in the namespace.
func (s *strait) within(do func() error) {
	s.t.Helper()
	s.inside <- do
	if err := <-s.done; err != nil {
		s.t.Fatal(err)
	}
}

// commandLine runs a command in the namespace of the thread that calls it.
func commandLine(args ...string) func() error {
	return func() error {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
}

// cut has all packets vanish, in both directions: they go to an Ethernet address that nobody has.
func (s *strait) cut() {
	s.t.Helper()
	s.drop()
	s.within(commandLine("ip", "neigh", "replace", s.here, "lladdr", "02:00:00:00:00:01", "dev", "e0", "nud", "permanent"))
}

// mend ends what cut has begun.
func (s *strait) mend() {
	s.t.Helper()
	s.within(commandLine("ip", "neigh", "del", s.here, "dev", "e0"))
	s.pass()
}

// relay passes what comes to a listener on to an address, and what comes back, until the end of
// the test.
func relay(t *testing.T, ln net.Listener, to string) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { carry(ctx, c, to) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		end()
		all.Wait()
	})
}

// carry connects c to an address until either side ends, or ctx.
func carry(ctx context.Context, c net.Conn, to string) {
	defer c.Close()
	other, err := new(net.Dialer).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer other.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, other}, {other, c}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			ended <- struct{}{}
		}()
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
	c.Close()
	other.Close()
	<-ended
}
