package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sidecar/discovery"
)

// A fake is a server that answers as the test says, over connections in memory, so that it
// lives in a synctest bubble.
type fake struct {
	t       *testing.T
	client  *Client
	down    atomic.Bool  // connections are refused
	dialled atomic.Int64 // connections that were asked for
	tcp     bool         // connections are those of a network, not in memory
	tls     *tls.Config  // it speaks TLS when this is set

	mu      sync.Mutex
	answers map[string]string // by command, in Redis' protocol
	asked   map[string]int    // how often, by command
	conns   map[net.Conn]bool

	subscriber net.Conn // the one that has subscribed last
}

// newFake starts a fake whose Client is made from o. It knows no key.
func newFake(t *testing.T, o Options) *fake {
	t.Helper()
	f := &fake{t: t, conns: map[net.Conn]bool{}, asked: map[string]int{}, answers: map[string]string{
		// As servers before Redis 6 do it.
		"HELLO": "-ERR unknown command 'HELLO'\r\n", "AUTH": "+OK\r\n", "SELECT": "+OK\r\n", "PING": "+PONG\r\n",
		"TYPE": "+none\r\n", "ROLE": "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n",
	}}
	o.Address = "redis.test:6379"
	o.dial = f.dial
	var err error
	if f.client, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.client.Close()
		f.drop()
	})
	return f
}

func (f *fake) dial(_ context.Context, network, _ string) (net.Conn, error) {
	f.dialled.Add(1)
	if f.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	if f.tcp {
		near, far = pair(f.t)
	}
	if f.tls != nil {
		far = tls.Server(far, f.tls)
	}
	f.mu.Lock()
	f.conns[far] = true
	f.mu.Unlock()
	go f.serve(far)
	return near, nil
}

// pair is a connection over the loopback interface.
func pair(t *testing.T) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// drop closes all connections.
func (f *fake) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
		delete(f.conns, c)
	}
}

func (f *fake) answer(command, with string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[command] = with
}

// hold has key be a set of these members.
func (f *fake) hold(members ...string) {
	f.answer("TYPE", "+set\r\n")
	f.answer("SMEMBERS", array(members...))
}

func (f *fake) count(command string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[command]
}

// publish tells the subscriber what happened.
func (f *fake) publish(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := io.WriteString(f.subscriber, text); err != nil {
		f.t.Errorf("nobody has subscribed: %v", err)
	}
}

func (f *fake) serve(c net.Conn) {
	// As on a network, what is sent need not be taken before more is read.
	out := make(chan string, 1000)
	defer close(out)
	go func() {
		defer c.Close()
		for text := range out {
			_, _ = io.WriteString(c, text)
		}
	}()
	r := bufio.NewReader(c)
	for {
		if b, err := r.Peek(1); err == nil && b[0] != '*' {
			out <- "-ERR unknown command\r\n"
		}
		args, err := readCommand(r)
		if err != nil {
			return
		}
		name := strings.ToUpper(args[0])
		f.mu.Lock()
		f.asked[name]++
		text, ok := f.answers[name]
		f.mu.Unlock()
		if !ok && strings.HasSuffix(name, "SUBSCRIBE") {
			for i, channel := range args[1:] {
				text += fmt.Sprintf("*3\r\n%s%s:%d\r\n", bulk(strings.ToLower(name)), bulk(channel), i+1)
			}
			f.mu.Lock()
			f.subscriber = c
			f.mu.Unlock()
		}
		if text == "" {
			continue // it hangs
		}
		out <- text
	}
}

func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r, '*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(r, '$')
		if err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		args[i] = string(text[:size])
	}
	return args, nil
}

func readLength(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("%q does not begin with %c", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func array(items ...string) string {
	text := fmt.Sprintf("*%d\r\n", len(items))
	for _, item := range items {
		text += bulk(item)
	}
	return text
}

// A watching is a Source's Watch that runs.
type watching struct {
	t       testing.TB
	source  discovery.Source
	updates chan discovery.Update
	cancel  context.CancelFunc
	ended   chan struct{}
}

func startWatch(t testing.TB, s discovery.Source) *watching {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{t: t, source: s, updates: make(chan discovery.Update, 10_000), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		s.Watch(ctx, func(u discovery.Update) { w.updates <- u })
	}()
	t.Cleanup(w.stop)
	return w
}

// stop ends the watch and waits for it.
func (w *watching) stop() {
	w.cancel()
	<-w.ended
}

// next returns the next update, within d.
func (w *watching) next(d time.Duration) discovery.Update {
	w.t.Helper()
	select {
	case u := <-w.updates:
		return u
	case <-time.After(d):
		w.t.Fatalf("no update within %v", d)
		panic("unreachable")
	}
}

// patience is what tests against a real server grant, for busy machines.
const patience = 20 * time.Second

// eventually reads updates until one is the set with these IDs, and returns it. Errors are
// passed over.
func (w *watching) eventually(ids ...string) discovery.Update {
	w.t.Helper()
	start := time.Now()
	for {
		u := w.next(patience - time.Since(start))
		if u.Err == nil && sameIDs(u, ids) {
			return u
		}
	}
}

// eventuallyErr reads updates until one is an error with text in it, and returns it.
func (w *watching) eventuallyErr(text string) discovery.Update {
	w.t.Helper()
	start := time.Now()
	for last := ""; ; {
		select {
		case u := <-w.updates:
			if u.Err == nil {
				last = fmt.Sprint(u.Instances)
			} else if last = u.Err.Error(); strings.Contains(last, text) {
				return u
			}
		case <-time.After(patience - time.Since(start)):
			w.t.Fatalf("no error with %q; the last update was %s", text, last)
		}
	}
}

func sameIDs(u discovery.Update, ids []string) bool {
	if len(u.Instances) != len(ids) {
		return false
	}
	for i := range ids {
		if u.Instances[i].ID != ids[i] {
			return false
		}
	}
	return true
}
