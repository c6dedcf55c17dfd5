package e2e

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// packageVersion is that of the package that the tests build, as git would describe it.
const packageVersion = "v1.2.3-4-gabc"

// buildPackage makes the Debian package as `make deb` does, and returns its path.
func buildPackage(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("NOT TESTED: the Debian package, which takes dpkg (Debian)")
	}
	dir, err := os.MkdirTemp(scratch, "") //nolint:usetesting // because the next test takes the package, too
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("../../packaging/build.sh", packageVersion, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	return found[0]
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, &stderr)
	}
	return string(out)
}

func TestTheDebianPackage(t *testing.T) {
	t.Parallel()
	deb := buildPackage(t)
	t.Run("has everything", func(t *testing.T) { hasEverything(t, deb) })
	t.Run("is made again", func(t *testing.T) { madeAgain(t, deb) })
	t.Run("lives with systemd", func(t *testing.T) { livesWithSystemd(t, deb) })
}

func hasEverything(t *testing.T, deb string) {
	if want := "sidecar_1.2.3+4.gabc_"; !strings.HasPrefix(filepath.Base(deb), want) {
		t.Errorf("the package is %s, want %s…", filepath.Base(deb), want)
	}
	for _, field := range []string{"Package: sidecar\n", "Version: 1.2.3+4.gabc\n", "Recommends: systemd\n", "/etc/sidecar/config.toml\n"} {
		if out := output(t, "dpkg-deb", "-I", deb, "control") + output(t, "dpkg-deb", "-I", deb, "conffiles"); !strings.Contains(out, field) {
			t.Errorf("no %q in\n%s", field, out)
		}
	}
	listed := output(t, "dpkg-deb", "-c", deb)
	for path, mode := range map[string]string{
		"usr/bin/sidecar":                                  "-rwxr-xr-x",
		"usr/lib/systemd/system/sidecar.service":           "-rw-r--r--",
		"usr/lib/systemd/system/sidecar@.service":          "-rw-r--r--",
		"etc/sidecar/":                                     "drwxr-xr-x",
		"etc/sidecar/config.toml":                          "-rw-r--r--",
		"usr/share/man/man1/sidecar.1.gz":                  "-rw-r--r--",
		"usr/share/bash-completion/completions/sidecar":    "-rw-r--r--",
		"usr/share/zsh/vendor-completions/_sidecar":        "-rw-r--r--",
		"usr/share/fish/vendor_completions.d/sidecar.fish": "-rw-r--r--",
		"usr/share/doc/sidecar/config.toml.example":        "-rw-r--r--",
		"usr/share/doc/sidecar/systemd.md":                 "-rw-r--r--",
		"usr/share/doc/sidecar/examples/sidecar.socket":    "-rw-r--r--",
	} {
		found := false
		for line := range strings.Lines(listed) {
			fields := strings.Fields(line)
			found = found || len(fields) == 6 && fields[5] == "./"+path && fields[0] == mode && fields[1] == "root/root"
		}
		if !found {
			t.Errorf("no %s %s of root in\n%s", mode, path, listed)
		}
	}

	root := t.TempDir()
	output(t, "dpkg-deb", "-x", deb, root)
	installed := filepath.Join(root, "usr/bin/sidecar")
	if out := output(t, installed, "version"); !strings.Contains(out, packageVersion) {
		t.Errorf("version: %s", out)
	}
	// The configuration as it comes serves nothing, and has no mistake without the signs of comment.
	empty := exec.CommandContext(t.Context(), installed, "check", "--config", filepath.Join(root, "etc/sidecar/config.toml"))
	if out, err := empty.CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "sidecar: nothing to serve") {
		t.Errorf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(root, "etc/sidecar/config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var live strings.Builder
	for line := range strings.Lines(string(text)) {
		if rest := strings.TrimPrefix(line, "# "); strings.HasPrefix(rest, "[") || strings.Contains(rest, " = ") {
			line = rest
		}
		live.WriteString(line)
	}
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(live.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := output(t, installed, "check", "--config", file); !strings.Contains(out, "2 services") {
		t.Errorf("%s\n%s", out, &live)
	}
}

// The same sources make the same package.
func madeAgain(t *testing.T, deb string) {
	first, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(buildPackage(t))
	if err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(first) != sha256.Sum256(again) {
		t.Errorf("%d bytes, and %d others", len(first), len(again))
	}
}

// dpkg runs the package's scripts, which speak to the real systemctl.
func livesWithSystemd(t *testing.T, deb string) {
	o := serveOrigin(t, "orders-1")
	address := reserve(t)
	m := boot(t, map[string]string{"var/lib/dpkg/status": "", "var/lib/dpkg/info/format": "1\n"})
	text, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.out("sidecar.deb"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	// A file that forbids to start anything belongs to this system, if it has one.
	m.run("rm", "-f", "/usr/sbin/policy-rc.d")
	install := func() { t.Helper(); m.run("dpkg", "--force-confold", "--install", "/out/sidecar.deb") }

	install()
	if state := m.property(service, "ActiveState") + " " + m.property(service, "UnitFileState"); state != "inactive disabled" {
		t.Errorf("after the installation it is %s", state)
	}
	m.write("etc/sidecar/config.toml", adminInside+listening("orders", address, o))
	m.run("systemctl", "enable", "--now", "sidecar")
	wantOK(t, address)

	// An upgrade keeps the configuration and puts a new process in the place of the old.
	pid := m.number(service, "MainPID")
	l := &load{address: address, fresh: true}
	l.start(t, 2)
	l.more(t, 10)
	install()
	m.waitNext(pid)
	l.more(t, 10)
	l.end(t)

	// Not if it would not start.
	pid = m.number(service, "MainPID")
	m.write("etc/sidecar/config.toml", adminInside+listening("orders", "nowhere", o))
	if out := m.run("dpkg", "--force-confold", "--install", "/out/sidecar.deb"); !strings.Contains(out, "still runs the old version") {
		t.Errorf("dpkg does not say so:\n%s", out)
	}
	if now := m.number(service, "MainPID"); now != pid {
		t.Errorf("the process was %d, and is %d", pid, now)
	}
	wantOK(t, address)

	m.run("dpkg", "--remove", "sidecar")
	if state := m.property(service, "ActiveState"); state != "inactive" {
		t.Errorf("after the removal it is %s", state)
	}
	if _, err := m.try("test", "-e", "/etc/sidecar/config.toml"); err != nil {
		t.Error("the removal has taken the configuration along")
	}
	m.run("dpkg", "--purge", "sidecar")
	if left, err := m.try("sh", "-c", "ls -d /etc/sidecar /var/lib/sidecar /var/lib/private/sidecar /etc/systemd/system/*/sidecar* 2>/dev/null"); err == nil || left != "" {
		t.Errorf("a purge leaves:\n%s", left)
	}
}
