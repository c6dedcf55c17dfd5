package consultest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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

// An Agent is a Consul agent on ports of 127.0.0.1: a server with a datacenter of its own, or
// one of a Datacenter's. Its methods fail the test when something goes wrong, and are for the
// test's goroutine.
type Agent struct {
	t      testing.TB
	name   string // of its node
	binary string
	dir    string // of its configuration, data and log
	ports  ports
	token  string            // that it is asked with; empty: none
	taken  func(*Agent) bool // tells that it has taken up its work

	process *os.Process
	done    chan struct{} // closed when the process has ended; nil: never started
}

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
	p, err := freePorts(1)
	if err != nil {
		t.Fatalf("consultest: %v", err)
	}
	alone := map[string]any{"server": true, "bootstrap": true}
	return prepare(t, "node1", p[0], append([]map[string]any{alone}, config...)...)
}

// prepare writes the configuration of an agent: settings go before what is the same for all,
// the last of them first.
func prepare(t testing.TB, name string, p ports, settings ...map[string]any) *Agent {
	t.Helper()
	a := &Agent{t: t, name: name, binary: Binary(t), dir: t.TempDir(), ports: p, taken: (*Agent).alone}
	all := map[string]any{
		"data_dir": filepath.Join(a.dir, "data"), "node_name": name,
		"bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"ports": map[string]int{
			"http": p.http, "server": p.server, "serf_lan": p.serf,
			"serf_wan": -1, "dns": -1, "grpc": -1, "https": -1,
		},
		// The fastest that Consul allows without its development mode, which would forget the
		// catalog when it stops: a leader after 1 to 2 s.
		"performance":          map[string]int{"raft_multiplier": 1},
		"connect":              map[string]bool{"enabled": false},
		"disable_update_check": true,
		"log_level":            "info",
	}
	for _, more := range settings {
		maps.Copy(all, more)
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(a.dir, "agent.json"), text, 0o600)
	}
	if err != nil {
		t.Fatalf("consultest: %v", err)
	}
	t.Cleanup(func() {
		a.Stop()
		if t.Failed() {
			t.Logf("log of the Consul agent %s at %s:\n%s", a.name, a.Address(), a.logTail())
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

// Pause stops it where it is (SIGSTOP): its sockets stay, connections to it succeed, and nothing
// is answered, until Resume.
func (a *Agent) Pause() { a.signal(syscall.SIGSTOP) }

// Resume lets it go on after Pause.
func (a *Agent) Resume() { a.signal(syscall.SIGCONT) }

func (a *Agent) signal(s syscall.Signal) {
	a.t.Helper()
	if !a.running() {
		a.t.Fatalf("consultest: %v for the agent %s, which does not run", s, a.name)
	}
	if err := a.process.Signal(s); err != nil {
		a.t.Fatalf("consultest: %v for the agent %s: %v", s, a.name, err)
	}
}

// running tells whether it has been started and has not ended.
func (a *Agent) running() bool {
	select {
	case <-a.done:
		return false
	default:
		return a.done != nil
	}
}

// start runs the agent until it is ready or has ended.
func (a *Agent) start() error {
	if err := a.launch(); err != nil {
		return err
	}
	return a.await()
}

// launch starts the process.
func (a *Agent) launch() error {
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
	return nil
}

// await returns when the agent has taken up its work, or why it has not.
func (a *Agent) await() error {
	deadline := time.Now().Add(patience)
	for !a.taken(a) {
		select {
		case <-a.done:
			return fmt.Errorf("the Consul agent %s has ended:\n%s", a.name, a.logTail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			a.Stop()
			return fmt.Errorf("the Consul agent %s is not ready after %v:\n%s", a.name, patience, a.logTail())
		}
	}
	return nil
}

// alone tells of a server without others whether it leads and has taken in its own node, after
// which nothing of the agent's own doing changes the catalog.
func (a *Agent) alone() bool { return a.hasLeader() && a.has("/v1/health/service/consul?passing", 1) }

func (a *Agent) hasLeader() bool {
	var leader string
	return a.get("/v1/status/leader", &leader) == nil && leader != ""
}

// has tells whether a path of the API has a list of n entries or more.
func (a *Agent) has(path string, n int) bool {
	var entries []any
	return a.get(path, &entries) == nil && len(entries) >= n
}

func (a *Agent) get(path string, value any) error {
	body, err := a.call(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, value)
}

// call makes one request to its HTTP API and returns what it has answered.
func (a *Agent) call(method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, "http://"+a.Address()+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if a.token != "" {
		req.Header.Set("X-Consul-Token", a.token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(text))
	}
	return text, err
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
