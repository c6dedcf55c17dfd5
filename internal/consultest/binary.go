// Package consultest runs the real Consul agent for tests, alone or as a datacenter.
//
//	agent := consultest.Start(t)            // one server with a leader, gone when t ends
//	agent.Register(consultest.Service{Name: "orders", Port: port})
//	agent.SetCheck("orders", "critical")
//	agent.Stop(); agent.Start()             // the registry goes away and comes back
//
//	dc := consultest.StartDatacenter(t)     // three servers, one agent, tokens
//	dc.Client.RegisterMany(services...)     // into the catalog, at no agent
//	dc.Leader().Stop()                      // the other two elect a new one
//	dc.Client.Pause(); dc.Client.Resume()   // the agent of this host hangs for a while
//
// The agent is built from source once, from the version that tools/consul/go.mod pins, into a
// folder of the repository that git ignores. Nothing here is part of the sidecar.
package consultest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
)

// Binary returns the path of the agent and builds it if nobody has: that takes some minutes,
// once. Tests of several packages may ask at the same time.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatalf("consultest: %v", err)
	}
	return path
}

var built = sync.OnceValues(Build)

// Build makes sure that the agent is built and returns its path. It works in any folder of
// the repository.
func Build() (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "tools", "consul")
	version, err := pinned(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", err
	}
	cache := filepath.Join(root, ".cache", "consul-"+version)
	path := filepath.Join(cache, "consul")
	if exists(path) {
		return path, nil
	}

	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(path) { // somebody else has built it in the meantime
		return path, nil
	}
	// Under another name until it is whole: a build that is killed leaves no half agent behind.
	part := path + ".part"
	build := exec.Command("go", "build", "-C", module, "-o", part, "github.com/hashicorp/consul")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build Consul %s: %w\n%s", version, err, bytes.TrimSpace(out))
	}
	if err := os.Rename(part, path); err != nil {
		return "", err
	}
	return path, nil
}

// repository is the folder of the module "sidecar" that the current folder belongs to.
func repository() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && moduleLine.Match(mod) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no folder above %s holds the module sidecar", start)
		}
	}
}

var (
	moduleLine = regexp.MustCompile(`(?m)^module sidecar$`)
	consulLine = regexp.MustCompile(`(?m)^\s*(?:require\s+)?github\.com/hashicorp/consul v(\S+)`)
)

// pinned is the version of Consul in a go.mod.
func pinned(gomod string) (string, error) {
	text, err := os.ReadFile(gomod)
	if err != nil {
		return "", err
	}
	m := consulLine.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s requires no github.com/hashicorp/consul", gomod)
	}
	return string(m[1]), nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lock waits for the exclusive lock of a file. The kernel gives it back if the process dies.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
