package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// anyCore leaves a process where the scheduler puts it.
const anyCore = -1

// A process is a program that the bench started and will end.
type process struct {
	name string
	cmd  *exec.Cmd
	logs *tail
	done chan struct{} // closed once the program has ended and err is set
	err  error
}

// startProcess starts a program in a process group of its own, so that a ctrl-C reaches the
// bench alone, which then ends everything in order. It must be called on the main thread.
// What the program writes to standard output goes to stdout, or, if that is nil, where
// its standard error goes: to the process's logs.
func startProcess(name string, core int, stdout *bytes.Buffer, path string, args ...string) (*process, error) {
	p := &process{name: name, logs: &tail{}, done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = cleanEnviron()
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	// SIGTERM and not SIGKILL, because nginx's master must still take its workers along.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := onCore(core, p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	p.err = p.cmd.Wait()
	close(p.done)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// died returns an error if the process has ended, which a server should not do by itself.
func (p *process) died() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself: %s: %s", p.name, fmt.Sprint(p.err), p.logs)
	default:
		return nil
	}
}

// finish waits for a program that ends by itself, and kills it when ctx ends first.
func (p *process) finish(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("%s: %w", p.name, context.Cause(ctx))
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", p.name, p.err, p.logs)
	}
	return nil
}

// stop asks the process to end and insists after a while. It returns when it has ended.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended: fine
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.kill()
	}
}

// kill ends the process and what it started itself: they are one process group.
func (p *process) kill() {
	select {
	case <-p.done: // the number may be someone else's by now
		return
	default:
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.done
}

// cpuUsed returns the CPU time of a process that has ended.
func (p *process) cpuUsed() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// onCore runs f, which starts a process, with the affinity that the process shall inherit.
func onCore(core int, f func() error) error {
	if core == anyCore {
		return f()
	}
	var before, pinned unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	pinned.Set(core)
	if err := unix.SchedSetaffinity(0, &pinned); err != nil {
		return fmt.Errorf("core %d: %w", core, err)
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}

// cleanEnviron is the environment without what would configure sidecar behind our back.
func cleanEnviron() []string {
	var env []string
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "SIDECAR_") || strings.HasPrefix(kv, "STATE_DIRECTORY=") ||
			strings.HasPrefix(kv, "GOMAXPROCS=") || strings.HasPrefix(kv, "GOGC=") || strings.HasPrefix(kv, "GODEBUG=") {
			continue
		}
		env = append(env, kv)
	}
	return env
}

// A tail keeps the end of what a process says, for the error message if it fails.
type tail struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

const tailSize = 2000

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := strings.TrimSpace(string(t.text)); text != "" {
		return text
	}
	return "it said nothing"
}
