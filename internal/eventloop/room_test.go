package eventloop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const childEnv = "EVENTLOOP_TEST_CHILD"

// Descriptors run out for the whole process, so this happens in one of its own: child.
func testInChild(t *testing.T, story string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+story)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("as it should be")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAcceptingPausesWhenDescriptorsRunOut(t *testing.T)     { testInChild(t, "none") }
func TestSomeDescriptorsAreKeptFromClients(t *testing.T)        { testInChild(t, "kept") }
func TestWhatNobodyUsesMakesRoom(t *testing.T)                  { testInChild(t, "spare") }
func TestDialsStopBeforeTheLastDescriptorsAreGone(t *testing.T) { testInChild(t, "dial") }

func child() int {
	stories := map[string]func(*scarcity) error{
		"none": runOutOfDescriptors, "kept": keepSome, "spare": makeRoom, "dial": dialTooMany,
	}
	x, err := newScarcity()
	if err == nil {
		err = stories[os.Getenv(childEnv)](x)
		x.ln.Close()
		x.g.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "as it should be")
	return 0
}

// A scarcity is a listener that echoes, with clients that have a socket each and do not connect yet.
type scarcity struct {
	g        *Group
	ln       *Listener
	pauses   chan error
	sa       *unix.SockaddrInet4
	sockets  []int
	sparable atomic.Int32 // how often there is something to spare
	spared   atomic.Int32 // how often that was asked for
	spare    []int        // descriptors that nobody uses
	open     int
}

const scarceClients = 40

func newScarcity() (x *scarcity, err error) {
	// Go's runtime needs descriptors of its own, from the first timer or socket on.
	early, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	early.Close()
	x = &scarcity{pauses: make(chan error, 1000)}
	if x.g, err = NewGroup(Options{Loops: 2, Spare: x.giveUp}); err != nil {
		return nil, err
	}
	x.ln, err = x.g.Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *Conn) {
		c.Loop().Go(RunFunc(func(task *Task) { defer c.Close(); echo(task, c) }))
	}), ListenOptions{OnError: func(err error) { x.pauses <- err }})
	if err != nil {
		return nil, err
	}
	x.sa = &unix.SockaddrInet4{Port: x.ln.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for range scarceClients {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)})
		x.sockets = append(x.sockets, fd)
	}
	return x, nil
}

func (x *scarcity) giveUp(*Loop, time.Duration) bool {
	n := x.spared.Add(1)
	if n > x.sparable.Load() {
		return false
	}
	unix.Close(x.spare[n-1])
	return true
}

// limit has the process have so many descriptors beside those that were open before the first one.
func (x *scarcity) limit(more int) error {
	if x.open == 0 {
		free, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		unix.Close(free)
		x.open = free
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(x.open + more), Max: 1000})
}

// connect connects clients, which get as far as the queue.
func (x *scarcity) connect(clients []int) error {
	for _, fd := range clients {
		if err := unix.Connect(fd, x.sa); err != nil {
			return err
		}
	}
	return nil
}

// ask waits for a client's echo.
func (x *scarcity) ask(fd int) error {
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		return err
	}
	if n, err := unix.Read(fd, make([]byte, 1)); n != 1 {
		return fmt.Errorf("no echo: %w", err)
	}
	return nil
}

// pause waits for loops to say that they pause.
func (x *scarcity) pause(n int) error {
	for range n {
		select {
		case err := <-x.pauses:
			if !errors.Is(err, syscall.EMFILE) {
				return fmt.Errorf("a pause because of: %w", err)
			}
		case <-time.After(patience):
			return errors.New("nobody pauses")
		}
	}
	return nil
}

// on runs fn on a loop.
func (x *scarcity) on(loop int, fn func(l *Loop)) {
	done := make(chan struct{})
	l := x.g.Loops()[loop]
	l.Post(func() { defer close(done); fn(l) })
	<-done
}

func runOutOfDescriptors(x *scarcity) error {
	if err := x.limit(0); err != nil {
		return err
	}
	if err := errors.Join(x.connect(x.sockets), x.pause(2)); err != nil {
		return err
	}
	if n, p := x.ln.Accepted(), x.ln.Paused(); n != 0 || p != 2 {
		return fmt.Errorf("%d accepted without a descriptor, %d loops pause", n, p)
	}
	if err := x.limit(200); err != nil {
		return err
	}
	for _, fd := range x.sockets {
		if err := x.ask(fd); err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}

func keepSome(x *scarcity) error {
	const room = 20 // of which leastKept are kept
	if err := x.limit(room); err != nil {
		return err
	}
	x.g.room.measure() // as a process does that starts
	if err := errors.Join(x.connect(x.sockets), x.pause(2)); err != nil {
		return err
	}
	n := int(x.ln.Accepted())
	if n < room-leastKept || n > room-leastKept+2 { // each loop finds out by itself
		return fmt.Errorf("%d accepted, there is room for %d", n, room-leastKept)
	}
	f, err := os.Open(os.Args[0])
	if err != nil {
		return fmt.Errorf("nothing else can be opened: %w", err)
	}
	defer f.Close()
	// Each that ends makes room for the next, and those that are there go on.
	for i, fd := range x.sockets {
		if last := min(i+n-pair, scarceClients) - 1; i > 0 && last > i {
			if err := x.ask(x.sockets[last]); err != nil {
				return fmt.Errorf("client %d, when %d have ended: %w", last, i, err)
			}
		}
		if err := x.ask(fd); err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		// Both ends are this process's.
		if n := int(x.ln.Accepted()); n > room-leastKept+2+2*i {
			return fmt.Errorf("%d are accepted when %d have ended", n, i)
		}
		unix.Close(fd)
	}
	if n := x.ln.Accepted(); n != scarceClients {
		return fmt.Errorf("%d were accepted", n)
	}
	return nil
}

func makeRoom(x *scarcity) error {
	const clients, unused = 15, 45 // some are given up before it is seen that nobody waits
	for range unused {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		x.spare = append(x.spare, fd)
	}
	x.sparable.Store(unused)
	if err := x.limit(leastKept); err != nil { // none for clients, but those that can be spared
		return err
	}
	x.g.room.measure() // as a process does that starts
	if err := x.connect(x.sockets[:clients]); err != nil {
		return err
	}
	for _, fd := range x.sockets[:clients] {
		if err := x.ask(fd); err != nil {
			return err
		}
	}
	// What is given up for one that is too many makes room for the next as well.
	if n := x.spared.Load(); n < clients/2 {
		return fmt.Errorf("%d were given up", n)
	}
	return nil
}

func dialTooMany(x *scarcity) error {
	const room = 20
	far, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer far.Close()
	unused, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	x.spare = []int{unused}
	if err := x.limit(room); err != nil {
		return err
	}
	x.g.room.measure() // as a process does that starts
	ended := make(chan error)
	x.on(0, func(l *Loop) {
		l.Go(RunFunc(func(*Task) { ended <- dialAll(x, l, addrPort(far.Addr()), room-leastKept/2) }))
	})
	return <-ended
}

// dialAll makes as many connections as there is room for, then one more in the place of what can be
// spared, and no other.
func dialAll(x *scarcity, l *Loop, to netip.AddrPort, room int) error {
	for i := range room {
		if _, err := l.Dial(to, patience); err != nil {
			return fmt.Errorf("dial %d of %d: %w", i, room, err)
		}
	}
	if c, err := l.Dial(to, patience); !errors.Is(err, syscall.EMFILE) {
		return fmt.Errorf("one more: %v, %w", c, err)
	}
	if n := x.spared.Load(); n == 0 {
		return errors.New("nobody was asked what can be spared")
	}
	x.spared.Store(0)
	x.sparable.Store(1)
	l.unspared = 0
	if _, err := l.Dial(to, patience); err != nil {
		return fmt.Errorf("in the place of another: %w", err)
	}
	if n := l.Stats().Sockets; n != int64(room)+1 {
		return fmt.Errorf("%d sockets", n)
	}
	return nil
}

// A pause that has become long must not outlast the shortage.
func TestAPauseEndsWhenAConnectionOfTheLoopDoes(t *testing.T) {
	tt := newTester(t, 1)
	ln := tt.serve(echo)
	c := tt.dial(ln)
	tt.until(tt.loop(), "it is accepted", func() bool { return ln.Accepted() == 1 })
	g := ln.gates[0]
	tt.on(tt.loop(), func() {
		g.pause = maxPause
		g.backOff(syscall.EMFILE)
		if g.timer.when < tt.loop().now+int64(maxPause) || ln.Paused() != 1 {
			t.Errorf("it pauses for %v", time.Duration(g.timer.when-tt.loop().now))
		}
		g.timer.when = 1 << 62 // for good
	})
	waiting := tt.dial(ln)
	c.Close()
	if _, err := waiting.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = waiting.SetReadDeadline(time.Now().Add(patience))
	if n, err := waiting.Read(make([]byte, 1)); n != 1 {
		t.Errorf("it is not served: %v", err)
	}
	if ln.Paused() != 0 || ln.Errors() != 1 {
		t.Errorf("%d pause, %d errors", ln.Paused(), ln.Errors())
	}
	waiting.Close()
	tt.until(tt.loop(), "all are closed", func() bool { return tt.loop().Stats().Conns == 0 })
}

func TestPipesThatNobodyUsesAreSpared(t *testing.T) {
	tt := newTester(t, 1)
	tt.on(tt.loop(), func() {
		before := openDescriptors(t)
		p, err := tt.loop().Pipe()
		if err != nil {
			t.Error(err)
			return
		}
		p.Release()
		if !tt.loop().spare(0) || openDescriptors(t) != before || tt.loop().spare(0) {
			t.Errorf("%d descriptors, were %d", openDescriptors(t), before)
		}
	})
}

func TestAListenerMayCloseWhileItPauses(t *testing.T) {
	tt := newTester(t, 2)
	ln := tt.serve(echo)
	for i, l := range tt.g.Loops() {
		tt.on(l, func() { ln.gates[i].backOff(syscall.ENFILE) })
	}
	if ln.Paused() != 2 {
		t.Errorf("%d pause", ln.Paused())
	}
	ln.Close()
	if ln.Paused() != 0 {
		t.Errorf("%d pause after the end", ln.Paused())
	}
	tt.quiet()
}

// However few sockets there were when there was no room, accepting is as before when they are gone.
func TestAShortageEndsWithItsSockets(t *testing.T) {
	for _, loops := range []int{1, 2, 8} {
		for _, narrow := range []int64{1, 60, 500, 1000} {
			tt := newTester(t, loops)
			tt.g.room.narrow.Store(narrow)
			tt.on(tt.loop(), func() { tt.g.room.leave(tt.g.room.enter(tt.loop())) })
			if n := tt.g.room.narrow.Load(); n != 0 {
				t.Errorf("%d loops, no room at %d sockets: it stays so with none", loops, narrow)
			}
		}
	}
}
