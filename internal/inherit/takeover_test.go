package inherit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An old is a process that offers sockets; it is this one.
type old struct {
	t      *testing.T
	path   string
	taken  chan int
	failed chan error
	done   chan error // what Offer has returned
	end    context.CancelFunc
}

// offering runs Offer with listeners, each with a name.
func offering(t *testing.T, patience time.Duration, names map[string]net.Listener) *old {
	t.Helper()
	return offeringAt(t, socketPath(t), patience, names)
}

func offeringAt(t *testing.T, path string, patience time.Duration, names map[string]net.Listener) *old {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	o := &old{t: t, path: path, taken: make(chan int, 1), failed: make(chan error, 9), done: make(chan error, 1), end: end}
	listening := make(chan struct{})
	go func() {
		o.done <- Offer(ctx, path, OfferOptions{
			Sockets: func() (out []Offered, err error) {
				for name, l := range names {
					f, err := l.(interface{ File() (*os.File, error) }).File()
					if err != nil {
						return nil, err
					}
					out = append(out, Offered{Name: name, File: f})
				}
				return out, nil
			},
			Taken:     func(pid int) { o.taken <- pid },
			Failed:    func(err error) { o.failed <- err },
			Listening: func() { close(listening) },
			Patience:  patience,
		})
	}()
	t.Cleanup(o.close)
	await(t, listening, "Offer listens")
	return o
}

func (o *old) close() {
	o.end()
	select {
	case err := <-o.done:
		if err != nil {
			o.t.Error(err)
		}
		o.done <- nil
	case <-time.After(patience):
		o.t.Error("Offer has not returned")
	}
}

// takeOver is TakeOver, which has to succeed.
func takeOver(t *testing.T, path string) (*Sockets, *Handover) {
	t.Helper()
	s, h, err := TakeOver(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); h.Abort() })
	return s, h
}

// wantRefused asks for the sockets, and wants an error with a part.
func wantRefused(t *testing.T, path, part string) error {
	t.Helper()
	s, h, err := TakeOver(t.Context(), path)
	if err == nil || s != nil || h != nil || !strings.Contains(err.Error(), part) {
		t.Fatalf("%v, %v, %v, want an error with %q", s, h, err, part)
	}
	return err
}

func many(t *testing.T, n int) map[string]net.Listener {
	t.Helper()
	out := map[string]net.Listener{}
	for i := range n {
		// The longest name there may be, of what JSON makes most of.
		out[fmt.Sprintf("%s%d", strings.Repeat("<", longestName-3), 100+i)], _ = listen(t, "tcp", "127.0.0.1:0")
	}
	return out
}

func TestANewProcessTakesAllSocketsOver(t *testing.T) {
	for _, n := range []int{0, 1, maxRights, 3*maxRights + 1} {
		listeners := many(t, n)
		o := offering(t, 0, listeners)
		if info, err := os.Stat(o.path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		s, h := takeOver(t, o.path)
		if s.Len() != n || h.PID() != os.Getpid() {
			t.Fatalf("%d sockets of process %d, want %d", s.Len(), h.PID(), n)
		}
		var taken []*os.File
		for name, l := range listeners {
			files := s.Named(name)
			if len(files) != 1 {
				t.Fatalf("%d sockets are called %q", len(files), name)
			}
			l.Close()
			taken = append(taken, files[0])
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, name)
			c.Close()
			if got := serveOne(files[0]); got != name {
				t.Errorf("%q from the client of %q", got, name)
			}
		}
		if len(taken) != n {
			t.Errorf("%d of %d", len(taken), n)
		}
		if err := h.Done(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(o.path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the path is still there when the old one has said that it leaves: %v", err)
		}
		if pid := await(t, o.taken, "the old process hears of it"); pid != os.Getpid() {
			t.Errorf("taken by %d", pid)
		}
		if err := await(t, o.done, "Offer returns"); err != nil {
			t.Error(err)
		}
		o.done <- nil
		select {
		case err := <-o.failed:
			t.Error(err)
		default:
		}
	}
}

// One takes over from the other, who then offers in turn, and so on.
func TestTakeoversFollowOneAnother(t *testing.T) {
	listeners := many(t, 2)
	o := offering(t, 0, listeners)
	for range 5 {
		_, h := takeOver(t, o.path)
		if err := h.Done(t.Context()); err != nil {
			t.Fatal(err)
		}
		o = offeringAt(t, o.path, 0, listeners)
	}
}

func TestTheOldProcessGoesOnWhenTheNewOneGivesUp(t *testing.T) {
	o := offering(t, 0, many(t, 1))
	for range 3 {
		_, h := takeOver(t, o.path)
		h.Abort()
		h.Abort()
		if err := await(t, o.failed, "the old process hears of it"); !strings.Contains(err.Error(), "has given up or ended") {
			t.Error(err)
		}
	}
	_, h := takeOver(t, o.path)
	if err := h.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, o.taken, "the takeover")
}

func TestTwoCannotTakeOverAtOnce(t *testing.T) {
	o := offering(t, 0, many(t, 1))
	_, h := takeOver(t, o.path)
	for range 3 {
		wantRefused(t, o.path, "another process is taking over already")
	}
	if err := h.Done(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, o.taken, "the takeover")
	wantNobody(t, o.path)
}

func wantNobody(t *testing.T, path string) {
	t.Helper()
	if err := wantRefused(t, path, path); !errors.Is(err, ErrNobody) {
		t.Errorf("%v is not ErrNobody", err)
	}
}

func TestANewProcessThatTakesTooLongIsLetDown(t *testing.T) {
	o := offering(t, time.Nanosecond, many(t, 1))
	s, h := takeOver(t, o.path)
	err := await(t, o.failed, "the old process gives up")
	if !strings.Contains(err.Error(), "has not said within 1ns that it listens") {
		t.Error(err)
	}
	if err := h.Done(t.Context()); err == nil || !strings.Contains(err.Error(), "the old process goes on") {
		t.Errorf("%v", err)
	}
	if s.Len() != 1 {
		t.Errorf("%d sockets", s.Len())
	}
}

// The old process gets SIGTERM while the new one opens what it needs.
func TestAnOldProcessThatEndsMeanwhileLeavesItToTheNewOne(t *testing.T) {
	o := offering(t, 0, many(t, 1))
	s, h := takeOver(t, o.path)
	o.end()
	await(t, o.failed, "the old process ends")
	if err := h.Done(t.Context()); err != nil || s.Len() != 1 {
		t.Errorf("%v, with %d sockets", err, s.Len())
	}
}

func TestAnErrorOfTheOldProcessIsTold(t *testing.T) {
	path := socketPath(t)
	ctx, end := context.WithCancel(t.Context())
	listening, done := make(chan struct{}), make(chan error)
	go func() {
		done <- Offer(ctx, path, OfferOptions{
			Sockets:   func() ([]Offered, error) { return nil, errors.New("a reload is under way") },
			Listening: func() { close(listening) },
		})
	}()
	<-listening
	wantRefused(t, path, "a reload is under way")
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOfferTellsWhyItsPathCannotBeUsed(t *testing.T) {
	o := offering(t, 0, nil)
	err := Offer(t.Context(), o.path, OfferOptions{})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another process offers") {
		t.Errorf("%v", err)
	}
	file := socketPath(t)
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Offer(t.Context(), file, OfferOptions{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "x" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if err := Offer(t.Context(), file+"/x", OfferOptions{}); err == nil {
		t.Error("a path below a file can be used")
	}
	wantNobody(t, file+"x")
	listen(t, "unix", file+"stream")
	wantRefused(t, file+"stream", "another kind of socket is there")
}

// A process has been killed and could not tidy up.
func TestASocketThatIsLeftIsReplaced(t *testing.T) {
	path := socketPath(t)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	wantNobody(t, path)
	o := offeringAt(t, path, 0, nil)
	_, h := takeOver(t, o.path)
	h.Abort()
}

// The next process has made its own socket before this one comes to remove it.
func TestASocketOfAnotherProcessIsNotRemoved(t *testing.T) {
	o := offering(t, 0, nil)
	if err := os.Remove(o.path); err != nil {
		t.Fatal(err)
	}
	next := offeringAt(t, o.path, 0, nil)
	o.close()
	if _, err := os.Lstat(o.path); err != nil {
		t.Error(err)
	}
	_, h := takeOver(t, next.path)
	h.Abort()
}

// A newProcess takes over in a process of its own.
type newProcess struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

func startNew(t *testing.T, path string) *newProcess {
	t.Helper()
	cmd := again(t, "takeover", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &newProcess{t: t, cmd: cmd, in: in, lines: make(chan string)}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *newProcess) kill() {
	p.cmd.Process.Kill()
	for range p.lines {
	}
	p.in.Close()
	p.cmd.Wait()
}

func (p *newProcess) want(line string) {
	p.t.Helper()
	if got := await(p.t, p.lines, line); got != line {
		p.t.Fatalf("the new process says %q, want %q", got, line)
	}
}

func TestANewProcessThatDiesChangesNothing(t *testing.T) {
	o := offering(t, 0, many(t, 2))
	p := startNew(t, o.path)
	p.want("2")
	p.kill()
	if err := await(t, o.failed, "the old process hears of it"); !strings.Contains(err.Error(), fmt.Sprintf("process %d has given up", p.cmd.Process.Pid)) {
		t.Error(err)
	}
	p = startNew(t, o.path)
	p.want("2")
	io.WriteString(p.in, "done\n")
	p.want("alone")
	if pid := await(t, o.taken, "the takeover"); pid != p.cmd.Process.Pid {
		t.Errorf("taken by %d, want %d", pid, p.cmd.Process.Pid)
	}
}

func TestAnotherUserGetsNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: a takeover by another user, since only root can become one")
	}
	o := offering(t, 0, many(t, 1))
	// As far as the folder and the mode go it could.
	for path, mode := range map[string]os.FileMode{o.path: 0o666, strings.TrimSuffix(o.path, "/s"): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	binary := strings.TrimSuffix(o.path, "s") + "test"
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, text, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, o.path)
	cmd.Env = []string{roleVariable + "=connect"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if want := "belongs to user 65534; sockets pass between processes of one user (0 here), and root"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%s, %v, want %q", out, err, want)
	}
	if !slices.Equal([]int{len(o.taken), len(o.failed)}, []int{0, 0}) {
		t.Error("the takeover has begun")
	}
}
