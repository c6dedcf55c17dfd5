package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const rootHelp = `A proxy.

Usage: is a word that a description may have.

  sidecar run

.a line that begins with a dot

Usage:
  sidecar [command]

Of files:
  config      Of the configuration

Additional Commands:
  completion  Generate
  help        Help about any command

Flags:
  -h, --help   help for sidecar

Additional help topics:
  sidecar exit-codes What it says

Use "sidecar [command] --help" for more information about a command.
`

const topicHelp = `What the status says:

  0  it is done
  1  it failed
`

const configHelp = `Shows C:\ it's.

Usage:
  sidecar config [command]

Available Commands:
  show        Show it

Flags:
  -h, --help   help for config
`

const showHelp = `'Shows'

Usage:
  sidecar config show [flags]

Examples:
  sidecar config show --json

Flags:
  -c, --config string   the file
      --color           if it
                        shines
  -h, --help            help

Global Flags:
      --quiet   says less
`

// told is a binary that says these things.
func told(words ...string) (string, error) {
	switch strings.Join(words, " ") {
	case "version":
		return "sidecar 1.2.3 linux/amd64\n", nil
	case "--help":
		return rootHelp, nil
	case "exit-codes --help":
		return topicHelp, nil
	case "config --help":
		return configHelp, nil
	case "config show --help":
		return showHelp, nil
	}
	return "", errors.New("unexpected: " + strings.Join(words, " "))
}

func TestThePageHasEveryCommandAndFlag(t *testing.T) {
	text, err := manual(told)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`.TH SIDECAR 1 "" "sidecar 1.2.3" ""` + "\n",
		"Usage: is a word that a description may have.\n",
		"\n.nf\n  sidecar run\n.fi\n",
		"\n\\&.a line that begins with a dot\n",
		".SS sidecar config\n.PP\nShows C:\\e it's.\n",
		".SS sidecar config show\n.PP\n\\&'Shows'\n.PP\n.nf\n  sidecar config show [flags]\n.fi\n",
		".TP\n\\-c, \\-\\-config string\nthe file\n.TP\n\\-\\-color\nif it\nshines\n.TP\n\\-\\-quiet\nsays less\n",
		"Examples:\n.PP\n.nf\n  sidecar config show \\-\\-json\n.fi\n",
		".SH EXIT CODES\n.PP\nWhat the status says:\n.PP\n.nf\n  0  it is done\n  1  it failed\n.fi\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "help for") || strings.Contains(text, ".SS sidecar help") {
		t.Errorf("the page is about help:\n%s", text)
	}
}

func TestAHelpThatIsNoneIsAnError(t *testing.T) {
	if _, err := parseHelp("\nUsage:\n  x\n"); err == nil {
		t.Error("no error")
	}
	for _, missing := range []string{"version", "--help", "config show --help", "exit-codes --help"} {
		_, err := manual(func(words ...string) (string, error) {
			if strings.Join(words, " ") == missing {
				return "", errors.New("is missing")
			}
			return told(words...)
		})
		if err == nil {
			t.Errorf("no %s, and no error", missing)
		}
	}
	if err := run(nil); err == nil {
		t.Error("no arguments, and no error")
	}
	if err := run([]string{"/bin/false", t.TempDir()}); err == nil {
		t.Error("the binary fails, and no error")
	}
}

func TestTheSamePageHasTheSameBytes(t *testing.T) {
	one, err := compress("x")
	if err != nil {
		t.Fatal(err)
	}
	two, err := compress("x")
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("%v", err)
	}
}

// The real binary, and what reads such pages.
func TestTheRealPageIsUnderstood(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "sidecar")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "sidecar/cmd/sidecar").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := run([]string{binary, dir}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "sidecar.1.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"run", "check", "status", "explain", "demo", "version"} {
		if !bytes.Contains(text, []byte("\n.SS sidecar "+command+"\n")) {
			t.Errorf("the page has no %s", command)
		}
	}
	for _, name := range []string{"sidecar.bash", "_sidecar", "sidecar.fish"} {
		completion, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Contains(completion, []byte("sidecar")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("NOT TESTED: that groff understands the manual page (Debian: groff-base)")
	}
	cmd := exec.CommandContext(t.Context(), groff, "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
