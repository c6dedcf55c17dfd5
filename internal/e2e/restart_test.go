package e2e

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var restarts = flag.Int("e2e.restarts", 20, "restarts of the tests that restart under load")

// restartClients is how many clients ask without a pause while the sidecar is restarted.
const restartClients = 64

// persistent are clients that keep their connection for as long as they may. That a response says
// it is the last one is fine; anything else that ends a connection is what a user would see.
type persistent struct {
	t        *testing.T
	stop     chan struct{}
	all      sync.WaitGroup
	answered atomic.Int64
	dialled  atomic.Int64
}

func askWithoutPause(t *testing.T, address string) *persistent {
	p := &persistent{t: t, stop: make(chan struct{})}
	for range restartClients {
		p.all.Go(func() {
			for !p.over() && !t.Failed() {
				if err := p.connection(address); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return p
}

func (p *persistent) over() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// connection makes one, and asks on it until it ends as it may.
func (p *persistent) connection(address string) error {
	w, err := dial(address)
	if err != nil {
		return fmt.Errorf("a connection was refused: %w", err)
	}
	defer w.Close()
	if err := w.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	p.dialled.Add(1)
	for n := 0; !p.over(); n++ {
		a, err := w.get("/")
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("request %d of a connection: %d %q %w", n, a.status, a.header.Get("Sidecar-Error"), errors.Join(err))
		}
		p.answered.Add(1)
		if a.close {
			return nil
		}
		if n%100 == 99 {
			if err := w.SetDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *persistent) end() {
	close(p.stop)
	p.all.Wait()
	p.t.Logf("%d restarts: %d requests on %d connections", *restarts, p.answered.Load(), p.dialled.Load())
}

// await asks until n more requests have been answered.
func (p *persistent) await(n int64) {
	p.t.Helper()
	from := p.answered.Load()
	within(p.t, patience, "requests are answered", func() bool { return p.answered.Load() >= from+n || p.t.Failed() })
}

// A new process takes over from the one before, again and again, and nobody notices.
func TestTakeoversUnderLoad(t *testing.T) {
	a, b := serveOrigin(t, "a"), serveOrigin(t, "b")
	cmd, admin := prepare(t, static("orders", "", a.address, b.address))
	path := filepath.Join(filepath.Dir(cmd.Args[len(cmd.Args)-1]), "takeover")
	cmd.Args = append(cmd.Args, "--takeover="+path)
	// The port is the system's choice, and written into the configuration before the first takeover.
	s := startCommand(t, cmd, admin)
	s.waitReady()
	address := s.address("orders")
	config := filepath.Join(filepath.Dir(path), "config.toml")
	fixed := fmt.Sprintf("[[service]]\nname = \"orders\"\nlisten = %q\ndiscovery = { source = \"static\", instances = [%q, %q] }\n", address, a.address, b.address)
	s.signal(syscall.SIGTERM)
	s.wait()
	putFile(t, config, []byte(fixed))
	start := func() *sidecar {
		next := exec.Command(cmd.Args[0], cmd.Args[1:]...)
		next.Env = cmd.Env
		return startCommand(t, next, admin)
	}
	s = start()
	s.waitReady()
	p := askWithoutPause(t, address)
	for range *restarts {
		p.await(restartClients)
		next := start()
		within(t, patience, "the process before has ended", s.ended)
		if code := s.wait().ExitCode(); code != 0 {
			t.Fatalf("it ended with %d:\n%s", code, &s.err)
		}
		s = next
		if t.Failed() {
			break
		}
	}
	p.await(restartClients)
	p.end()
}

// The listening socket is systemd's, as it were: the process ends, and the next one is started.
func TestRestartsWithSocketActivation(t *testing.T) {
	o := serveOrigin(t, "a")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd, admin := prepare(t, fmt.Sprintf("[[service]]\nname = \"orders\"\nlisten = \"systemd:web\"\ndiscovery = { source = \"static\", instances = [%q] }\n", o.address))
	start := func() *sidecar {
		// As systemd does, the process that is told of the sockets is the one that has them.
		next := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, cmd.Args...)...)
		next.Env = append([]string{"LISTEN_FDS=1", "LISTEN_FDNAMES=web"}, cmd.Env...)
		next.ExtraFiles = []*os.File{socket}
		return startCommand(t, next, admin)
	}
	s := start()
	s.waitReady()
	p := askWithoutPause(t, ln.Addr().String())
	for range *restarts {
		p.await(restartClients)
		s.signal(syscall.SIGTERM)
		if code := s.wait().ExitCode(); code != 0 {
			t.Fatalf("it ended with %d:\n%s", code, &s.err)
		}
		s = start()
		if t.Failed() {
			break
		}
	}
	p.await(restartClients)
	p.end()
}
