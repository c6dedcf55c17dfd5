package inherit

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// dial connects to an offer by hand.
func dial(t *testing.T, path string) link {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return link{conn}
}

// pair is a link and its other end.
func pair(t *testing.T) (link, link) {
	t.Helper()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socketPath(t), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := dial(t, l.Addr().String())
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return a, link{conn}
}

func TestWhoDoesNotSpeakAsAgreedIsRefused(t *testing.T) {
	o := offering(t, 0, many(t, 1))
	for said, want := range map[string]string{
		`{"step":"hello","version":2}`:          "version 1, and was asked for version 2",
		`{"step":"taken"}`:                      `says "taken", want ["hello"]`,
		`{`:                                     "is not understood",
		strings.Repeat(" ", maxPacket):          "is not understood",
		strings.Repeat(" ", maxPacket+1) + "{}": "a packet was cut",
	} {
		l := dial(t, o.path)
		if _, err := l.conn.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		_, _, err := l.expect(t.Context(), patience, stepSockets)
		var r *refusal
		if !errors.As(err, &r) || !strings.Contains(r.text, want) {
			t.Errorf("%.40s: %v, want %q", said, err, want)
		}
		// It has hung up, so the next one is not told that this one is at it.
		if _, _, err := l.receive(t.Context(), patience); !hungUp(err) {
			t.Errorf("%.40s: %v", said, err)
		}
	}
	// Descriptors where none are due are closed: TestMain would see them.
	_, f := listen(t, "tcp", "127.0.0.1:0")
	l := dial(t, o.path)
	if err := withDescriptors([]Offered{{File: f}}, nil, func(fds []int) error { return l.send(packet{Step: stepHello, Version: version}, fds...) }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.expect(t.Context(), patience, stepSockets); err == nil {
		t.Error("descriptors came with a hello, and it was heard")
	}
	_, h := takeOver(t, o.path)
	h.Abort()
}

// What an old process may say that is not as agreed.
func TestANewProcessTakesOnlyWhatIsAsAgreed(t *testing.T) {
	_, good := listen(t, "tcp", "127.0.0.1:0")
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	bad := fileOf(t, udp)
	for name, c := range map[string]struct {
		p     packet
		files []*os.File
		want  string
	}{
		"a datagram socket": {packet{Step: stepSockets, Names: []string{"a", "b"}}, []*os.File{good, bad}, "is a datagram socket"},
		"too few names":     {packet{Step: stepSockets, Names: []string{"a"}}, []*os.File{good, good}, "2 sockets have come with 1 names"},
		"no sockets":        {packet{Step: stepSockets}, nil, "0 sockets have come"},
		"a wrong count":     {packet{Step: stepAll, Total: 1}, nil, "1 sockets were announced and 0 have come"},
		"another step":      {packet{Step: stepLeaving}, nil, `says "leaving"`},
		"an error":          {packet{Step: stepError, Error: "no"}, nil, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			var offered []Offered
			for _, f := range c.files {
				offered = append(offered, Offered{File: f})
			}
			if err := withDescriptors(offered, nil, func(fds []int) error { return a.send(c.p, fds...) }); err != nil {
				t.Fatal(err)
			}
			s := &Sockets{}
			done, err := (&Handover{link: b}).fetch(t.Context(), s)
			if done || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v", done, err)
			}
			s.Close()
		})
	}
}

// The process may not open as many descriptors as come.
func TestSocketsThatDoNotFitAreNotLostSilently(t *testing.T) {
	listeners := many(t, 2)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	a, b := pair(t)
	var offered []Offered
	for _, l := range listeners {
		offered = append(offered, Offered{File: fileOf(t, l)})
	}
	if err := withDescriptors(offered, nil, func(fds []int) error {
		return a.send(packet{Step: stepSockets, Names: []string{"a", "b"}}, fds...)
	}); err != nil {
		t.Fatal(err)
	}
	next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next) + 1, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	_, fds, err := b.receive(t.Context(), patience)
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); e != nil {
		t.Fatal(e)
	}
	if err == nil || !strings.Contains(err.Error(), "LimitNOFILE") || fds != nil {
		t.Errorf("%v, %v", fds, err)
	}
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	_, b := pair(t)
	ctx, end := context.WithCancel(t.Context())
	got := make(chan error)
	go func() {
		_, _, err := b.receive(ctx, patience)
		got <- err
	}()
	end()
	if err := await(t, got, "receive returns"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
