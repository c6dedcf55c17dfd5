package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// A bench is one run: its temporary folder, its programs, and what it has started.
type bench struct {
	ctx    context.Context
	opts   options
	dir    string
	bin    binaries
	origin *origin

	started []*process
	files   int // descriptors that this process and its children may have
	folders int // numbers the proxies' folders
}

// binaries are the paths of the programs. Those that the run does not need are empty.
type binaries struct {
	wrk, haproxy, nginx string
	h2load              string
	streamModule        string // empty if built in
	hasStream           bool   // nginx can proxy TCP
	sidecar, baseline   string
	self                string
}

func newBench(ctx context.Context, opts options) (*bench, error) {
	dir, err := os.MkdirTemp("", "sidecar-bench-")
	if err != nil {
		return nil, err
	}
	return &bench{ctx: ctx, opts: opts, dir: dir}, nil
}

// prepare finds or builds the programs and starts the origin.
func (b *bench) prepare() error {
	var err error
	if b.bin.self, err = os.Executable(); err != nil {
		return err
	}
	if b.bin.wrk, err = findProgram("wrk"); err != nil {
		return err
	}
	if b.bin.nginx, err = findProgram("nginx"); err != nil { // the origin, in any case
		return err
	}
	if b.measures(measureH2) || b.measures(measureGRPC) {
		if b.bin.h2load, err = findProgram("h2load"); err != nil {
			return err
		}
	}
	b.bin.streamModule, b.bin.hasStream = findStreamModule(b.bin.nginx, b.opts.streamModule)
	if b.wants(nameHAProxy) {
		if b.bin.haproxy, err = findProgram("haproxy"); err != nil {
			return err
		}
	}
	if b.wants(nameSidecar) {
		if b.bin.sidecar, err = b.sidecarBinary(); err != nil {
			return err
		}
	}
	if b.bin.baseline, err = filepath.Abs(b.opts.baseline); err != nil {
		return err
	}
	b.files = raiseFileLimit(4 * b.opts.idleConns)
	b.origin, err = startOrigin(b)
	return err
}

func (b *bench) measures(what string) bool { return slices.Contains(b.opts.measure, what) }

func (b *bench) wants(proxy string) bool { return slices.Contains(b.opts.proxies, proxy) }

// sidecarBinary returns the binary that was asked for, or builds the one of this checkout.
func (b *bench) sidecarBinary() (string, error) {
	if b.opts.sidecar != "" {
		return filepath.Abs(b.opts.sidecar)
	}
	path := filepath.Join(b.dir, "sidecar")
	b.progress("building ./cmd/sidecar")
	out, err := exec.CommandContext(b.ctx, "go", "build", "-o", path, "./cmd/sidecar").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build ./cmd/sidecar (in the root of the repository?): %w\n%s", err, bytes.TrimSpace(out))
	}
	return path, nil
}

// start starts a server that runs until stop, or until the end of the run.
func (b *bench) start(name string, core int, path string, args ...string) (*process, error) {
	p, err := startProcess(name, core, nil, path, args...)
	if err == nil {
		b.started = append(b.started, p)
	}
	return p, err
}

// stop ends a server.
func (b *bench) stop(p *process) {
	p.stop()
	b.started = slices.DeleteFunc(b.started, func(q *process) bool { return q == p })
}

// close ends whatever still runs and removes the files.
func (b *bench) close() {
	for _, p := range slices.Backward(b.started) {
		p.stop()
	}
	b.started = nil
	if err := os.RemoveAll(b.dir); err != nil {
		b.progress("%v", err)
	}
}

// folder makes a folder of its own for a server.
func (b *bench) folder(name string) (string, error) {
	b.folders++
	dir := filepath.Join(b.dir, name+"-"+strconv.Itoa(b.folders))
	return dir, os.Mkdir(dir, 0o700)
}

// writeConfig writes a server's configuration into a folder of its own, and returns both.
func (b *bench) writeConfig(name, file, text string) (dir, path string, err error) {
	if dir, err = b.folder(name); err != nil {
		return "", "", err
	}
	path = filepath.Join(dir, file)
	return dir, path, os.WriteFile(path, []byte(text), 0o600)
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// until calls try until it succeeds; it gives up after 20 s, or when the process has died.
func (b *bench) until(p *process, try func() error) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if dead := p.died(); dead != nil {
			return dead
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready: %w (%s)", p.name, err, p.logs)
		}
		if err := b.pause(20 * time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits, unless the run is ended first.
func (b *bench) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// findProgram also looks where an ordinary user's PATH on Debian does not.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed (make bench-deps)", name)
}

// freeAddr returns an address of 127.0.0.1 that nobody listens on at the moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// raiseFileLimit lets this process and its children have n descriptors, or as many as it
// may, and returns how many that are. Only a call through package syscall makes children
// inherit it: otherwise the runtime gives them the limit from before its own raising.
func raiseFileLimit(n int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	want := uint64(max(n, 16_384))
	if limit.Max < want { // only root may
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: want, Max: want}); err == nil {
			return int(want)
		}
	}
	limit.Cur = limit.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, 1<<30))
}
