package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// units is the folder of what is shipped for systemd.
const units = "../../systemd"

// unit is the text of a shipped file.
func unit(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(units, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// settings are the lines of a unit that are neither comments nor empty.
func settings(text string) (out []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

// analyze runs systemd-analyze.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("NOT TESTED: that systemd understands the units, which takes systemd-analyze (Debian: systemd)")
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
	return string(out), err
}

// The units name the binary where a package installs it; here it is elsewhere.
func TestSystemdUnderstandsTheUnits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"sidecar.service", "sidecar@.service", "sidecar.socket"} {
		path := filepath.Join(dir, name)
		paths = append(paths, path)
		text := strings.ReplaceAll(unit(t, name), "/usr/bin/sidecar", binary())
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The folder of the units alone counts, or whatever else is installed here would be judged.
	out, err := analyze(t, append([]string{"verify", "--recursive-errors=no", "--man=no"}, paths...)...)
	if err != nil || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
	// It would have said so.
	wrong := filepath.Join(dir, "sidecar.service")
	if err := os.WriteFile(wrong, []byte("[Service]\nType=notify\nExecStart=/no/such/file\nFileDescriptorStoreMux=1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := analyze(t, "verify", "--recursive-errors=no", "--man=no", wrong); err == nil || !strings.Contains(out, "FileDescriptorStoreMux") {
		t.Errorf("a unit with a mistake passes: %v\n%s", err, out)
	}
}

// The threshold is in tenths: 1.5 is what the requirements ask for, where 10 is no protection.
func TestTheUnitsAreExposedToLittle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // without the drop-in, which is for another version
	for _, name := range []string{"sidecar.service", "sidecar@.service"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(unit(t, name)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := analyze(t, "security", "--offline=true", "--no-pager", "--threshold=15", path); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		out, err := analyze(t, "security", "--offline=true", "--json=short", path)
		var findings []struct{ Name, Exposure string }
		if err != nil || json.Unmarshal([]byte(out), &findings) != nil || len(findings) < 50 {
			t.Errorf("%s: %v, %d findings:\n%s", name, err, len(findings), out)
		}
		if out, err := analyze(t, "security", "--offline=true", "--no-pager", "--threshold=5", path); err == nil {
			t.Errorf("%s passes any threshold:\n%s", name, out)
		}
	}
}

// The one for several is the same but for the name, so that neither is forgotten in a change.
func TestTheUnitsDifferByTheNameOnly(t *testing.T) {
	t.Parallel()
	one, several := settings(unit(t, "sidecar.service")), settings(unit(t, "sidecar@.service"))
	for i, line := range several {
		switch key, _, _ := strings.Cut(line, "="); key {
		case "Description":
			several[i] = one[slices.IndexFunc(one, func(s string) bool { return strings.HasPrefix(s, "Description=") })]
		case "ExecStart", "ExecStartPre", "ExecReload":
			several[i] = strings.Replace(line, "/%i.toml", "/config.toml", 1)
		case "EnvironmentFile", "StateDirectory", "RuntimeDirectory", "LogsDirectory":
			if !strings.HasSuffix(line, "sidecar@%i") {
				t.Errorf("%s is the same for all", line)
			}
			several[i] = strings.TrimSuffix(line, "@%i")
		}
	}
	if !slices.Equal(one, several) {
		for i := range min(len(one), len(several)) {
			if one[i] != several[i] {
				t.Fatalf("sidecar.service has %q, sidecar@.service has %q", one[i], several[i])
			}
		}
		t.Fatalf("sidecar.service has %d lines, sidecar@.service %d", len(one), len(several))
	}
}
