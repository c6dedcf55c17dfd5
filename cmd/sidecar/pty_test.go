package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A pty is a terminal, and what stands in for the person before it.
type pty struct {
	t      *testing.T
	person *os.File
	tty    *os.File
	seen   strings.Builder
}

func newPty(t *testing.T) *pty {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	p := &pty{t: t, person: person, tty: tty}
	p.resize(100, 30)
	return p
}

func (p *pty) resize(width, height uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		p.t.Fatal(err)
	}
}

// settings are how the terminal is set.
func (p *pty) settings() unix.Termios {
	p.t.Helper()
	s, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return *s
}

func (p *pty) press(keys string) {
	p.t.Helper()
	if _, err := p.person.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// await reads until the screen has shown a text behind what was awaited before.
func (p *pty) await(text string) {
	p.t.Helper()
	var buf [4096]byte
	for {
		if _, rest, found := strings.Cut(p.seen.String(), text); found {
			p.seen.Reset()
			p.seen.WriteString(rest)
			return
		}
		n, err := p.person.Read(buf[:])
		if err != nil {
			p.t.Fatalf("%v, and %q has not come: %q", err, text, p.seen.String())
		}
		p.seen.Write(buf[:n])
	}
}

// live runs top on the terminal.
func (p *pty) live(address string) chan error {
	ended := make(chan error, 1)
	cmd := newTop()
	cmd.SetIn(p.tty)
	cmd.SetOut(p.tty)
	cmd.SetArgs([]string{"--admin", address, "--color", "never"})
	go func() { ended <- cmd.Execute() }()
	return ended
}

func TestTopOnATerminal(t *testing.T) {
	p := newPty(t)
	before := p.settings()
	ended := p.live(running(t, "orders"))
	p.await(enterScreen)
	p.await("SERVICE / ENDPOINT")
	p.await("q quit   s sort: requests")
	if p.settings() == before {
		t.Error("keys are still shown")
	}
	p.press("s")
	p.await("sort: errors")
	p.resize(20, 6)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	p.await("q quit   s sort: er…")
	p.press("q")
	if err := <-ended; err != nil {
		t.Errorf("ends with %v", err)
	}
	p.await(leaveScreen)
	if p.settings() != before {
		t.Error("the terminal is not as it was")
	}
}

func TestASignalGivesTheTerminalBack(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		p := newPty(t)
		before := p.settings()
		ended := p.live(running(t, "orders"))
		p.await("q quit")
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%v: ends with %v", s, err)
		}
		p.await(leaveScreen)
		if p.settings() != before {
			t.Errorf("%v: the terminal is not as it was", s)
		}
	}
}

// A panic must not leave a terminal that shows nothing of what is typed.
func TestAPanicGivesTheTerminalBack(t *testing.T) {
	p := newPty(t)
	before := p.settings()
	func() {
		defer func() { _ = recover() }()
		s, err := openScreen(int(p.tty.Fd()), int(p.tty.Fd()), p.tty)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if err := s.draw((&topView{}).render()); err != nil { // without a document
			t.Error(err)
		}
	}()
	p.await(enterScreen)
	p.await(leaveScreen)
	if p.settings() != before {
		t.Error("the terminal is not as it was")
	}
}

func TestDrainAsksOnATerminal(t *testing.T) {
	for answer, want := range map[string]int{"y\n": 1, "yes\n": 1, "n\n": 0, "\n": 0, "what\n": 0} {
		var o operator
		p := newPty(t)
		cmd := newDrain()
		cmd.SetIn(p.tty)
		cmd.SetOut(p.tty)
		cmd.SetErr(p.tty)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs([]string{"--admin", answering(t, o.options())})
		ended := make(chan error, 1)
		go func() { ended <- cmd.Execute() }()
		p.await("This drains the sidecar, and ends it: pid 77, 1 service, 12 connections of clients. Go on? [y/N] ")
		p.press(answer)
		err := <-ended
		if len(o.done) != want || (err == nil) != (want == 1) || err != nil && err.Error() != "nothing was done" {
			t.Errorf("%q: done %q, %v", answer, o.done, err)
		}
	}
}
