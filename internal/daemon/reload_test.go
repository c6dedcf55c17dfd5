package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sidecar/admin"
	"sidecar/config"
)

// A reloading is a daemon that runs, and whose configuration a test replaces.
type reloading struct {
	*running
	text atomic.Pointer[string]
}

func runReloading(t *testing.T, text string) *reloading {
	t.Helper()
	r := &reloading{}
	r.text.Store(&text)
	load := func() (*config.Config, []config.Value, error) {
		cfg, err := config.Parse("config.toml", []byte(*r.text.Load()), nil)
		return cfg, nil, err
	}
	d, err := New(parse(t, text), Options{Version: "v0", Load: load, Warming: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.running = &running{d, cancel, make(chan error, 1)}
	go func() { r.ended <- d.Run(ctx) }()
	t.Cleanup(cancel)
	if err := r.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// reload applies another configuration.
func (r *reloading) reload(t *testing.T, text string) admin.Report {
	t.Helper()
	r.text.Store(&text)
	report, err := r.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// refuse has a configuration refused, and everything as it was.
func (r *reloading) refuse(t *testing.T, text string, words ...string) {
	t.Helper()
	before := r.state.Load()
	r.text.Store(&text)
	_, err := r.Reload(t.Context())
	if err == nil {
		t.Fatalf("taken: %s", text)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if r.state.Load() != before {
		t.Error("something has changed")
	}
	if warnings := strings.Join(r.Status().Warnings, "\n"); !strings.Contains(warnings, "the last reload failed") {
		t.Errorf("the warnings are %q", warnings)
	}
}

// echo is an endpoint that gives back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // not by splice, whose pipes Go keeps
			}()
		}
	}()
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// talk passes a word through a session and back.
func talk(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "word"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "word" {
		t.Fatalf("%q came back, %v", b, err)
	}
}

func TestAReloadWithoutAChangeTouchesNothing(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		config := adminOff + text("queue", "tcp", "127.0.0.1:0", echo(t))
		r := runReloading(t, config)
		before := r.state.Load()
		if report := r.reload(t, config+"\n# a comment\n"); len(report.Changed)+len(report.Restart) > 0 {
			t.Errorf("changed: %+v", report)
		}
		if r.state.Load() != before {
			t.Error("there is another state")
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// What a change does not concern stays the very same: sockets, sessions, and what is known of endpoints.
func TestAReloadChangesWhatHasChanged(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		address := echo(t)
		queue, stock := text("queue", "tcp", "127.0.0.1:0", address), text("stock", "tcp", "127.0.0.1:0", address)
		r := runReloading(t, adminOff+short+queue+stock)
		before := r.state.Load()
		session, other := r.dial(t, 0), r.dial(t, 1)
		talk(t, session)
		talk(t, other)

		report := r.reload(t, adminOff+short+queue+"timeout = { connect = \"2s\" }\n"+stock)
		if len(report.Changed) != 1 || !strings.Contains(report.Changed[0], "queue") || !strings.Contains(report.Changed[0], "timeout.connect") {
			t.Errorf("told is %q", report.Changed)
		}
		now := r.state.Load()
		if now.services[1] != before.services[1] {
			t.Error("a service that has not changed is another one")
		}
		if now.services[0] == before.services[0] || now.services[0].upstream != before.services[0].upstream {
			t.Error("the service has not changed, or what it knows of its endpoints is gone")
		}
		for i := range now.sockets {
			if now.sockets[i].port != before.sockets[i].port {
				t.Errorf("socket %d is another one", i)
			}
		}
		talk(t, session)
		talk(t, other)
		talk(t, r.dial(t, 0))
		if err := r.endCut(t); err != nil {
			t.Error(err)
		}
	})
}

// endCut ends a daemon whose sessions the test has left open.
func (r *reloading) endCut(t *testing.T) error {
	t.Helper()
	r.text.Store(new(string))
	if err := r.end(t); !errors.Is(err, ErrCut) {
		return fmt.Errorf("Run returned %w, want ErrCut", err)
	}
	return nil
}

const short = "[runtime]\ndrain = \"20ms\"\n"

func TestAServiceThatIsBuiltAnewBeginsWithTheInstancesItHad(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		queue := text("queue", "tcp", "127.0.0.1:0", echo(t))
		r := runReloading(t, adminOff+short+queue)
		before := r.state.Load()
		session := r.dial(t, 0)
		talk(t, session)
		r.reload(t, adminOff+short+queue+"breaker = { consecutive_failures = 7 }\n")
		now := r.state.Load()
		if now.services[0].upstream == before.services[0].upstream {
			t.Fatal("the service works with the breakers that it had")
		}
		if set, known := now.services[0].upstream.Instances(); !known || len(set) != 1 {
			t.Errorf("it knows %v, %v", set, known)
		}
		talk(t, session)
		talk(t, r.dial(t, 0))
		r.retiring.Wait()
		for _, e := range before.services[0].upstream.Snapshot().Endpoints {
			if !e.Retired() {
				t.Error("an endpoint of what was replaced is not retired")
			}
		}
		if err := r.endCut(t); err != nil {
			t.Error(err)
		}
	})
}

func TestServicesComeAndGo(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		address := echo(t)
		queue, stock := text("queue", "tcp", "127.0.0.1:0", address), text("stock", "http", "127.0.0.1:0", address)
		r := runReloading(t, adminOff+queue)
		r.reload(t, adminOff+queue+stock)
		if err := r.AwaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		listeners := r.Status().Listeners
		if len(listeners) != 2 || listeners[1].Service != "stock" {
			t.Fatalf("listens: %+v", listeners)
		}
		session := r.dial(t, 0)
		talk(t, session)
		ended := make(chan admin.Report, 1)
		ended <- r.reload(t, adminOff+stock)
		if c, err := net.Dial("tcp", listeners[0].Address); err == nil {
			c.Close()
			t.Error("a service that was removed still accepts")
		}
		talk(t, session) // goes on for runtime.drain
		session.Close()
		r.retiring.Wait()
		if got := <-ended; len(got.Changed) != 1 || !strings.Contains(got.Changed[0], "removed") {
			t.Errorf("told is %q", got.Changed)
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

func TestAnErrorLeavesEverythingAsItWas(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		address := echo(t)
		queue := text("queue", "tcp", "127.0.0.1:0", address)
		r := runReloading(t, adminOff+short+queue)
		session := r.dial(t, 0)
		talk(t, session)
		r.refuse(t, adminOff+"[[service]\n", "config.toml")
		r.refuse(t, adminOff+queue+text("stock", "http", taken(t), address), "stock", syscall.EADDRINUSE.Error(), "ss -ltnp")
		all := strings.Replace(r.Status().Listeners[0].Address, "127.0.0.1", "0.0.0.0", 1)
		r.refuse(t, adminOff+text("queue", "tcp", all, address), "queue", errOurs.Error())
		r.refuse(t, adminOff+queue+"tls = { cert_files = [\"/none\"], key_files = [\"/none\"] }\n", "queue", "/none")
		r.refuse(t, adminOff+"[consul]\naddress = \"127.0.0.1:1\"\n[[service]]\nname = \"queue\"\nprotocol = \"tcp\"\nlisten = \"127.0.0.1:0\"\n",
			"queue", "does not know its instances", "127.0.0.1:1")
		talk(t, session)
		talk(t, r.dial(t, 0))
		r.reload(t, adminOff+short+queue+"retry = { attempts = 1 }\n")
		if warnings := r.Status().Warnings; len(warnings) > 0 {
			t.Errorf("a reload that went well leaves the warnings %q", warnings)
		}
		if err := r.endCut(t); err != nil {
			t.Error(err)
		}
	})
}

func TestTheAdminInterfaceMoves(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		queue := text("queue", "tcp", "127.0.0.1:0", echo(t))
		dir := t.TempDir()
		at := func(name string) string { return "[admin]\nlisten = \"unix:" + dir + "/" + name + "\"\n" }
		r := runReloading(t, at("a")+queue)
		r.reload(t, at("b")+queue)
		r.retiring.Wait()
		if err := (&admin.Client{Address: "unix:" + dir + "/b"}).Healthy(t.Context()); err != nil {
			t.Error(err)
		}
		if err := (&admin.Client{Address: "unix:" + dir + "/a"}).Healthy(t.Context()); err == nil {
			t.Error("the old address still answers")
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatNeedsARestartIsSaid(t *testing.T) {
	queue := text("queue", "tcp", "127.0.0.1:0", echo(t))
	r := runReloading(t, adminOff+queue)
	for range 2 { // also when it is asked for again
		report := r.reload(t, adminOff+"[runtime]\nloops = 7\n"+queue)
		if len(report.Changed) != 0 || len(report.Restart) != 1 || !strings.Contains(report.Restart[0], "runtime.loops") {
			t.Errorf("told is %+v", report)
		}
	}
	if notices := strings.Join(r.Status().Notices, "\n"); !strings.Contains(notices, "runtime.loops") {
		t.Errorf("the notices are %q", notices)
	}
	if report := r.reload(t, adminOff+queue); len(report.Restart) != 0 {
		t.Errorf("told is %+v", report)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

func TestAReloadDuringAStopIsRefused(t *testing.T) {
	r := runReloading(t, adminOff+text("queue", "tcp", "127.0.0.1:0", echo(t)))
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := r.Reload(context.Background())
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, errStopping) {
			t.Errorf("told is %v", err)
		}
	case <-time.After(patience):
		t.Error("a reload waits for ever")
	}
}

// A hundred times back and forth, and nothing is left of it.
func TestManyReloadsLeaveNothing(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		address := echo(t)
		one := text("queue", "tcp", "127.0.0.1:0", address) + text("stock", "http", "127.0.0.1:0", address)
		two := text("queue", "tcp", "127.0.0.1:0", address) + "breaker = { consecutive_failures = 7 }\n" + text("orders", "http", "127.0.0.1:0", address)
		const loops = "[runtime]\nloops = 1\n"
		r := runReloading(t, adminOff+loops+one)
		session := r.dial(t, 0)
		for i := range 100 {
			r.reload(t, adminOff+loops+[]string{two, one}[i%2])
			talk(t, session)
		}
		r.retiring.Wait()
		// A loop's three, two listeners, the session's two, its pipe if it has one, and Go's own.
		if n := len(descriptors(t)); n > 30 {
			t.Errorf("%d descriptors are open: %q", n, descriptors(t))
		}
		session.Close()
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}
