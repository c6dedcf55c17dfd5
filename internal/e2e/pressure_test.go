package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// memoryGroup makes a control group that may have so much memory, for a process that begins with the
// line that is returned.
func memoryGroup(t *testing.T, limit int) (enter string) {
	t.Helper()
	for _, path := range []string{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"} {
		folder, file := filepath.Split(path)
		if _, err := os.Stat(filepath.Join(folder, "cgroup.procs")); err != nil {
			continue // no hierarchy: with version 1 it is a folder of folders, in which files can be made as well
		}
		dir := filepath.Join(folder, "e2e-"+strconv.Itoa(os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		if os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o600) == nil {
			return "echo $$ > " + filepath.Join(dir, "cgroup.procs")
		}
	}
	t.Skip("NOT TESTED, the memory limit of a control group: to make one takes root, and a hierarchy that may be written")
	return ""
}

func wantMemoryLimit(t *testing.T, s *sidecar, limit float64) {
	t.Helper()
	if n := sum(metrics(t, s), "go_gc_gomemlimit_bytes"); n != limit {
		t.Errorf("memory is limited to %v bytes, want %v", n, limit)
	}
}

func TestMemoryIsLimitedByTheControlGroup(t *testing.T) {
	t.Parallel()
	const limit = 256 << 20
	enter := memoryGroup(t, limit)
	cmd, address := prepare(t, static("orders", "", "127.0.0.1:1"))
	underShell(cmd, enter)
	s := startCommand(t, cmd, address)
	// The group can be removed when nobody is in it any more.
	t.Cleanup(s.kill)
	wantMemoryLimit(t, s, limit/100*90)
	if missing := lacking(s.err.String(), []string{"memory is limited to 90 %", fmt.Sprint(limit / 100 * 90)}); missing != "" {
		t.Errorf("the log lacks %q", missing)
	}
	s.signal(syscall.SIGTERM)
	s.wait()
}

func TestMemoryIsLimitedByTheEnvironment(t *testing.T) {
	t.Parallel()
	s := start(t, static("orders", "", "127.0.0.1:1"), "GOMEMLIMIT=100MiB")
	wantMemoryLimit(t, s, 100<<20)
}

// Who may ask is a matter of the socket's file: its owner, and its group.
func TestTheAdminSocketIsForItsGroup(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED, the rights of the admin socket: only root can be somebody else")
	}
	s := start(t, static("orders", "", "127.0.0.1:1"))
	path := strings.TrimPrefix(s.Address, "unix:")
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil { // so that it is the socket that decides
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	const nobody, group = 65534, 12345
	if err := os.Chown(path, 0, group); err != nil {
		t.Fatal(err)
	}
	for _, as := range []struct {
		groups []uint32
		code   int
		says   string
	}{{nil, 3, "may not connect"}, {[]uint32{group}, 0, "orders"}} {
		cmd := exec.Command(binary(), "status", "--admin", s.Address)
		cmd.Dir, cmd.Env = "/", environment()
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: as.groups}}
		p := launch(t, cmd)
		if code := p.wait().ExitCode(); code != as.code || !strings.Contains(p.out.String()+p.err.String(), as.says) {
			t.Errorf("in groups %d: exit status %d, %s%s; want %d, %q", as.groups, code, &p.out, &p.err, as.code, as.says)
		}
	}
}
