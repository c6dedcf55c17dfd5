package consultest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is when a condition that is polled counts as never to come. It is generous, for
// machines that are busy with other tests.
const patience = 60 * time.Second

// An Agent is a Consul server with a cluster of its own, on ports of 127.0.0.1. Its methods
// fail the test when something goes wrong, and are for the test's goroutine.
type Agent struct {
	t      testing.TB
	binary string
	dir    string // of its configuration, data and log
	ports  ports

	process *os.Process
	done    chan struct{} // closed when the process has ended; nil: never started
}

type ports struct{ http, server, serf int }

// Start returns an Agent that runs and has a leader. config holds further top-level settings
// of the agent, such as "acl".
func Start(t testing.TB, config ...map[string]any) *Agent {
	t.Helper()
	var err error
	for range 5 {
		a := New(t, config...)
		if err = a.start(); err == nil {
			return a
		}
		// Somebody has taken one of the ports in between: others, then.
	}
	t.Fatalf("consultest: %v", err)
	return nil
}

// New returns an Agent that does not run yet but has its address. It is killed when t ends.
func New(t testing.TB, config ...map[string]any) *Agent {
	t.Helper()
	a := &Agent{t: t, binary: Binary(t), dir: t.TempDir()}
	var err error
	if a.ports, err = freePorts(); err != nil {
		t.Fatalf("consultest: %v", err)
	}
	settings := map[string]any{
		"server": true, "bootstrap": true,
		"data_dir": filepath.Join(a.dir, "data"), "node_name": "node1",
		"bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"ports": map[string]int{
			"http": a.ports.http, "server": a.ports.server, "serf_lan": a.ports.serf,
			"serf_wan": -1, "dns": -1, "grpc": -1, "https": -1,
		},
		// The fastest that Consul allows without its development mode, which would forget the
		// catalog when it stops: a leader after 1 to 2 s.
		"performance":          map[string]int{"raft_multiplier": 1},
		"connect":              map[string]bool{"enabled": false},
		"disable_update_check": true,
		"log_level":            "info",
	}
	for _, more := range config {
		for key, value := range more {
			settings[key] = value
		}
	}
	text, err := json.MarshalIndent(settings, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(a.dir, "agent.json"), text, 0o600)
	}
	if err != nil {
		t.Fatalf("consultest: %v", err)
	}
	t.Cleanup(func() {
		a.Stop()
		if t.Failed() {
			t.Logf("log of the Consul agent at %s:\n%s", a.Address(), a.logTail())
		}
	})
	return a
}

// Address is the host:port of its HTTP API.
func (a *Agent) Address() string { return fmt.Sprintf("127.0.0.1:%d", a.ports.http) }

// Start runs it, again on the same address and with the same data, and waits for the leader.
func (a *Agent) Start() {
	a.t.Helper()
	var err error
	for range 5 {
		if err = a.start(); err == nil {
			return
		}
	}
	a.t.Fatalf("consultest: %v", err)
}

// Stop kills it, as a machine that loses its power would, and waits until it has ended. It
// does nothing when the agent does not run.
func (a *Agent) Stop() {
	if a.done == nil {
		return
	}
	_ = a.process.Kill() // it may have ended already
	<-a.done
}

// start runs the agent until it has a leader or has ended.
func (a *Agent) start() error {
	log, err := os.OpenFile(filepath.Join(a.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(a.binary, "agent", "-config-file", filepath.Join(a.dir, "agent.json"))
	cmd.Stdout, cmd.Stderr = log, log
	// Not even a test process that is killed leaves an agent behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done, started := make(chan struct{}), make(chan error)
	go func() {
		// The signal comes when the thread ends that has started the process (go.dev/issue/27505):
		// this one stays for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed, as a rule
		}
		close(done)
	}()
	if err := <-started; err != nil {
		return err
	}
	a.process, a.done = cmd.Process, done

	deadline := time.Now().Add(patience)
	for !a.ready() {
		select {
		case <-done:
			return fmt.Errorf("the Consul agent has ended:\n%s", a.logTail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			a.Stop()
			return fmt.Errorf("the Consul agent has no leader after %v:\n%s", patience, a.logTail())
		}
	}
	return nil
}

// ready tells whether there is a leader and it has taken in its own node, after which nothing
// of the agent's own doing changes the catalog.
func (a *Agent) ready() bool {
	var leader string
	if a.get("/v1/status/leader", &leader) != nil || leader == "" {
		return false
	}
	var self []any
	return a.get("/v1/health/service/consul?passing", &self) == nil && len(self) > 0
}

func (a *Agent) get(path string, value any) error {
	resp, err := client.Get("http://" + a.Address() + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(value)
}

// client keeps no connections, so that tests which look for leaks find none of its.
var client = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	Timeout:   patience,
}

func (a *Agent) logTail() string {
	text, _ := os.ReadFile(filepath.Join(a.dir, "log"))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// freePorts finds ports that nobody listens on. They lie below those that the kernel gives to
// outgoing connections, so that none takes them while the agent is stopped.
func freePorts() (ports, error) {
	var p ports
	for range 100 {
		base := 20000 + rand.N(12000)
		p = ports{http: base, server: base + 1, serf: base + 2}
		if free(p.http) && free(p.server) && free(p.serf) {
			return p, nil
		}
	}
	return p, fmt.Errorf("no free ports on 127.0.0.1; the last tried was %d", p.http)
}

func free(port int) bool {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", address) // serf gossips over both
	if err != nil {
		return false
	}
	u.Close()
	return true
}
