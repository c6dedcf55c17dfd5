package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// patience is when something that is waited for counts as never to come.
	patience = 30 * time.Second
	// soon is the same where the requirements allow one or two seconds.
	soon = 5 * time.Second
)

// within waits until ok and returns how long that took. It fails the test after limit.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); ; <-tick.C {
		yes, took := ok(), time.Since(begin)
		if yes {
			return took
		}
		if took > limit {
			t.Fatalf("still not so after %v: %s", took.Round(time.Millisecond), what)
		}
	}
}

// A text collects what a process writes.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// A process is a child, which does not outlive its test.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err text
	done     chan struct{} // closed when it has ended
}

// launch starts cmd. Where it has no place for what it writes, the process collects it.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// Not even a test process that is killed leaves one behind.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	go func() {
		defer close(p.done)
		// The signal comes when the thread ends that has started the process (go.dev/issue/27505):
		// this one stays for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // what it says is in cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// kill ends it with SIGKILL and waits until it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("send %v: %v", s, err)
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait returns how it ended.
func (p *process) wait() *os.ProcessState {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState
	case <-time.After(patience):
		p.t.Fatalf("%v has not ended after %v; it wrote:\n%s%s", p.cmd.Args, patience, &p.out, &p.err)
		return nil
	}
}

// environment is that of this process without what a sidecar would take for itself, and with
// more.
func environment(more ...string) []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SIDECAR_") && !strings.HasPrefix(e, "CONSUL_") &&
			!strings.HasPrefix(e, "NOTIFY_SOCKET=") && !strings.HasPrefix(e, "STATE_DIRECTORY=") {
			env = append(env, e)
		}
	}
	return append(env, more...)
}
