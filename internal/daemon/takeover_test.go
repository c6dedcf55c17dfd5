package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidecar/admin"
	"sidecar/internal/inherit"
)

// A house is where processes take over from each other: here daemons of one process.
type house struct {
	*testing.T
	dir   string
	agent *agent
}

func newHouse(t *testing.T) *house { return &house{T: t, dir: t.TempDir(), agent: runAgent(t)} }

// text is the configuration of all: all their sockets are files.
func (h *house) text(more string) string {
	return fmt.Sprintf("[admin]\nlisten = \"unix:%s/admin\"\n", h.dir) + long + h.agent.mine("", "") +
		text("orders", "http", "unix:"+h.dir+"/orders", says(h.T, "x").address) + text("queue", "tcp", "unix:"+h.dir+"/queue", echo(h.T)) + more
}

// begin runs a daemon.
func (h *house) begin(text string, o Options) *reloading {
	h.Helper()
	d, err := New(parse(h.T, text), o)
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &reloading{running: &running{d, cancel, make(chan error, 1)}}
	go func() { r.ended <- d.Run(ctx) }()
	h.Cleanup(cancel)
	if err := r.AwaitReady(h.Context()); err != nil {
		h.Fatal(err)
	}
	return r
}

// offering is one from which another can take over.
func (h *house) offering() *reloading {
	h.Helper()
	r := h.begin(h.text(""), Options{Version: "old", Takeover: filepath.Join(h.dir, "over")})
	h.agent.wantHeard(h.T, "register mine-1")
	return r
}

// takeOver gets the sockets.
func (h *house) takeOver() (s *inherit.Sockets, handover *inherit.Handover) {
	h.Helper()
	until(h.T, "the sockets are handed over", func() (ok bool) {
		var err error
		s, handover, err = inherit.TakeOver(h.Context(), filepath.Join(h.dir, "over"))
		return err == nil
	})
	return s, handover
}

// reachable fails unless everything answers at its file.
func (h *house) reachable(version string) {
	h.Helper()
	want(h.T, h.dir+"/orders", "x")
	session := call(h.T, h.dir+"/queue")
	talk(h.T, session)
	session.Close() // or the end would wait for it
	status, err := (&admin.Client{Address: "unix:" + h.dir + "/admin"}).Status(h.Context())
	if err != nil || status.Build.Version != version || status.Draining {
		h.Errorf("at the admin address: %+v, %v; want that of %q", status.Build, err, version)
	}
}

// gone fails if there is a file still.
func (h *house) gone() {
	h.Helper()
	for _, name := range []string{"orders", "queue", "admin", "over"} {
		if _, err := os.Lstat(filepath.Join(h.dir, name)); !errors.Is(err, os.ErrNotExist) {
			h.Errorf("%s is still there: %v", name, err)
		}
	}
}

// One that cannot open all that it needs leaves the sockets' files to the process that has made them.
func TestATakeoverThatCannotOpenEverythingChangesNothing(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		h := newHouse(t)
		old := h.offering()
		for range 2 {
			s, handover := h.takeOver()
			_, err := New(parse(t, h.text(text("stock", "http", taken(t), "127.0.0.1:1"))), Options{Inherited: s, Handover: handover})
			if err == nil || !strings.Contains(err.Error(), "stock") {
				t.Errorf("New returned %v", err)
			}
			handover.Abort()
			h.reachable("old")
		}
		if err := old.end(t); err != nil {
			t.Error(err)
		}
		h.gone()
		h.agent.wantHeard(t, "register mine-1", "maintenance mine-1", "deregister mine-1")
	})
}

// One that is stopped before it has said that it serves leaves alone: the other goes on with everything.
func TestATakeoverThatIsStoppedChangesNothing(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		h := newHouse(t)
		old := h.offering()
		s, handover := h.takeOver()
		next, err := New(parse(t, h.text("")), Options{Inherited: s, Handover: handover})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := next.Run(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "goes on") {
			t.Errorf("Run returned %v", err)
		}
		h.reachable("old")
		if old.draining.Load() {
			t.Error("the old one leaves as well")
		}
		if err := old.end(t); err != nil {
			t.Error(err)
		}
		h.gone()
		told := h.agent.heard()
		for i, word := range told {
			if last := i == len(told)-1; strings.HasPrefix(word, "deregister") != last {
				t.Errorf("the agent was told %q; want to hear once, at the end, that the service is gone", told)
			}
		}
	})
}

// From the moment on that a takeover is done the new process is the one that answers, and all of it is its.
func TestATakeover(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		h := newHouse(t)
		old := h.offering()
		session := call(t, h.dir+"/queue")
		talk(t, session)
		s, handover := h.takeOver()
		waiting := make(chan error, 1) // a reload that the old one is asked for meanwhile
		go func() {
			_, err := old.Reload(t.Context())
			waiting <- err
		}()
		next := h.begin(h.text(""), Options{Version: "new", Inherited: s, Handover: handover})
		until(t, "the old one knows", old.succeeded.Load)
		// While it drains, which takes as long as the session.
		until(t, "its admin interface is closed", func() bool {
			f, err := old.state.Load().admin.File()
			if err == nil {
				f.Close()
			}
			return err != nil
		})
		for range 20 {
			h.reachable("new")
		}
		talk(t, session)
		if err := <-waiting; !errors.Is(err, errStopping) {
			t.Errorf("a reload of the old one: %v", err)
		}
		session.Close()
		old.wantEnd(t)
		h.reachable("new")
		h.agent.wantHeard(t, "register mine-1", "register mine-1")
		if err := next.end(t); err != nil {
			t.Error(err)
		}
		h.agent.wantHeard(t, "register mine-1", "register mine-1", "maintenance mine-1", "deregister mine-1")
		h.gone()
	})
}

// wantEnd waits for a Run that has to end by itself.
func (r *reloading) wantEnd(t *testing.T) {
	t.Helper()
	var err error
	until(t, "Run has returned", func() bool {
		select {
		case err = <-r.ended:
			return true
		default:
			return false
		}
	})
	if err != nil {
		t.Error(err)
	}
}
