package e2e

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A machine is a real systemd, as the first process of namespaces of its own. Its files are this
// system's programs, a /etc that the test writes, and nothing else; the network is this one's.
type machine struct {
	*process
	t   *testing.T
	dir string // "in" is copied over the machine's root, "out" is /out in it
}

// bootScript makes the root and becomes systemd. Its arguments: the test's folder, the machine's
// control group, systemd.
const bootScript = `set -e
dir=$1 group=$2 systemd=$3
echo $$ > "$group/cgroup.procs"
# A namespace begins at the group that its first process is in.
exec unshare --cgroup sh -e -c '
dir=$1 systemd=$2
mount --make-rprivate /
mkdir -p "$dir/root"
mount -t tmpfs tmpfs "$dir/root"
cd "$dir/root"
mkdir upper work usr etc dev proc sys run var tmp root out old
ln -s usr/bin usr/sbin usr/lib .
if [ -e /usr/lib64 ]; then ln -s usr/lib64 .; fi
if [ -e "$dir/in/usr" ]; then cp -a "$dir/in/usr/." upper; fi
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$PWD/upper,workdir=$PWD/work" usr
for d in etc var; do if [ -e "$dir/in/$d" ]; then cp -a "$dir/in/$d/." $d; fi; done
cp /etc/ld.so.cache etc
mount --bind "$dir/out" out
mount -t proc proc proc
# What is not in a namespace is the host'"'"'s, and stays as it is.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero full random urandom tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 tmpfs run
chmod 1777 tmp
pivot_root . old
umount -l old
exec env -i container=e2e PATH=/usr/bin:/usr/sbin "$systemd" --unit=e2e.target --log-target=console --show-status=no
' sh "$dir" "$systemd"
`

// boot starts a machine with these files besides. Where there cannot be one the test is skipped.
func boot(t *testing.T, files map[string]string) *machine {
	t.Helper()
	const untested = "NOT TESTED, under a real systemd (but against a notify socket): "
	if os.Getuid() != 0 {
		t.Skip(untested + "only root can start one")
	}
	for name, in := range map[string]string{"unshare": "util-linux", "nsenter": "util-linux", "pivot_root": "util-linux", "mount": "mount"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%sit takes %s (Debian: %s)", untested, name, in)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--fork", "true").CombinedOutput(); err != nil {
		t.Skipf("%sit takes namespaces, and so CAP_SYS_ADMIN: %s", untested, out)
	}
	systemd := "/usr/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil {
		t.Skipf("%s%v (Debian: systemd)", untested, err)
	}
	group, err := newGroup(t)
	if err != nil {
		t.Skipf("%sit takes a control group: %v", untested, err)
	}

	m := &machine{t: t, dir: folder(t)}
	m.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
	m.write("etc/group", "root:x:0:\nnogroup:x:65534:\n")
	m.write("etc/nsswitch.conf", "passwd: files systemd\ngroup: files systemd\nhosts: files\n")
	m.write("etc/machine-id", strings.Repeat("e2e0", 8)+"\n")
	m.write("etc/systemd/system/e2e.target", "[Unit]\nDescription=Everything that the test needs\nDefaultDependencies=no\n")
	for name, text := range files {
		m.write(name, text)
	}
	if err := os.Mkdir(filepath.Join(m.dir, "out"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(m.dir, "out"), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", bootScript, "sh", m.dir, group, systemd)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	cmd.Env = environment()
	m.process = launch(t, cmd)
	within(t, patience, "systemd runs", func() bool {
		if m.ended() {
			t.Skipf("%sit does not start here: %s", untested, &m.err)
		}
		state, _ := m.try("systemctl", "is-system-running")
		return state == "running" || state == "degraded"
	})
	version, _ := m.try("systemctl", "--version")
	t.Logf("under a real systemd: %s", strings.SplitN(version, "\n", 2)[0])
	t.Cleanup(m.show)
	return m
}

// newGroup makes a control group below that of this process.
func newGroup(t *testing.T) (string, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer mounts.Close()
	var at string
	for s := bufio.NewScanner(mounts); s.Scan(); {
		// "36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw"
		left, right, _ := strings.Cut(s.Text(), " - ")
		if fields := strings.Fields(left); strings.HasPrefix(right, "cgroup2 ") && len(fields) > 4 {
			at = fields[4]
		}
	}
	if at == "" {
		return "", fmt.Errorf("cgroup2 is not mounted")
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			at = filepath.Join(at, own)
		}
	}
	group, err := os.MkdirTemp(at, "e2e-") //nolint:usetesting // because it is no folder of a disk
	if err != nil {
		return "", err
	}
	// Registered before the machine's end, so it runs after it.
	t.Cleanup(func() {
		within(t, patience, "the control group is empty", func() bool { return removeGroup(group) })
	})
	return group, nil
}

// removeGroup removes a control group and those in it, from the leaves on.
func removeGroup(group string) bool {
	_ = filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != group {
			removeGroup(path)
			return fs.SkipDir
		}
		return nil
	})
	err := syscall.Rmdir(group)
	return err == nil || err == syscall.ENOENT
}

// write makes a file of the machine's /etc, /usr or /var, before it runs, or any while it does.
func (m *machine) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.dir, "in", name)
	if m.process != nil {
		path = m.path(name)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(name, "usr/bin/") {
		mode = 0o755
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// try runs a command in the machine and returns what it says.
func (m *machine) try(args ...string) (string, error) {
	args = append([]string{"--target", strconv.Itoa(m.cmd.Process.Pid), "--all", "--"}, args...)
	out, err := exec.CommandContext(m.t.Context(), "nsenter", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run is try, and must work.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%q: %v: %s", args, err, out)
	}
	return out
}

// property is one of those that `systemctl show` has of a unit.
func (m *machine) property(unit, name string) string {
	m.t.Helper()
	return m.run("systemctl", "show", "--property="+name, "--value", unit)
}

func (m *machine) number(unit, name string) int {
	m.t.Helper()
	text := m.property(unit, name)
	n, err := strconv.Atoi(text)
	if err != nil {
		m.t.Fatalf("%s of %s is %q", name, unit, text)
	}
	return n
}

// path is where a file of the running machine is for the test.
func (m *machine) path(name string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", m.cmd.Process.Pid), name)
}

// out is the path of a file in /out, for the test.
func (m *machine) out(name string) string { return filepath.Join(m.dir, "out", name) }

// log is what a unit has written, if a drop-in of the test sends it to /out.
func (m *machine) log(unit string) string {
	text, _ := os.ReadFile(m.out(unit + ".log")) // none before it has started
	return string(text)
}

// show shows what happened when the test has failed.
func (m *machine) show() {
	if !m.t.Failed() {
		return
	}
	m.t.Logf("systemd:\n%s%s", &m.process.out, &m.err)
	logs, _ := filepath.Glob(m.out("*.log"))
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		m.t.Logf("%s:\n%s", filepath.Base(name), text[max(0, len(text)-8<<10):])
	}
}
