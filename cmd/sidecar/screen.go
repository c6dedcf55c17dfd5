package main

import (
	"context"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a terminal is told (xterm's control sequences, which all take).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // another screen, no cursor, no line that goes on in the next
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// A screen is a terminal that top has to itself.
type screen struct {
	keys, out int // descriptors
	to        io.Writer
	before    unix.Termios
}

// openScreen takes over a terminal: keys come at once and are not shown. Ctrl-C stays a signal; the
// keys that would stop the process or have it dumped do nothing, since the terminal would be left as
// it is.
func openScreen(keys, out int, to io.Writer) (*screen, error) {
	before, err := unix.IoctlGetTermios(keys, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	s := &screen{keys: keys, out: out, to: to, before: *before}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VSUSP], raw.Cc[unix.VQUIT] = 0, 0
	// A read waits for a tenth of a second, and then says that there was nothing.
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, 1
	if err := unix.IoctlSetTermios(keys, unix.TCSETS, &raw); err != nil {
		return nil, err
	}
	_, err = io.WriteString(to, enterScreen)
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close gives the terminal back as it was. What cannot be written then cannot be told either.
func (s *screen) close() {
	_, _ = io.WriteString(s.to, leaveScreen)
	_ = unix.IoctlSetTermios(s.keys, unix.TCSETS, &s.before)
}

// size is that of the terminal now.
func (s *screen) size() (width, height int) {
	const usualWidth, usualHeight = 80, 24
	w, err := unix.IoctlGetWinsize(s.out, unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 || w.Row == 0 {
		return usualWidth, usualHeight
	}
	return int(w.Col), int(w.Row)
}

// draw shows lines, and nothing of what was there before.
func (s *screen) draw(lines []string) error {
	_, err := io.WriteString(s.to, toTop+strings.Join(lines, clearLine+"\r\n")+clearLine+clearBelow)
	return err
}

// read sends keys until ctx ends or the terminal is gone, and closes pressed then.
func (s *screen) read(ctx context.Context, pressed chan<- byte) {
	defer close(pressed)
	var buf [16]byte
	for ctx.Err() == nil {
		began := time.Now()
		n, err := unix.Read(s.keys, buf[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil, n == 0 && time.Since(began) < time.Millisecond:
			return // the terminal is gone: it does not even wait
		}
		for _, k := range arrows(buf[:n]) {
			select {
			case pressed <- k:
			case <-ctx.Done():
				return
			}
		}
	}
}

// arrows turns the sequences of the arrow keys into k and j.
func arrows(keys []byte) []byte {
	return []byte(strings.NewReplacer("\x1b[A", "k", "\x1b[B", "j", "\x1bOA", "k", "\x1bOB", "j").Replace(string(keys)))
}
