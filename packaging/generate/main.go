// Command generate makes what a package has besides the binary, from what the binary says of
// itself: the manual page and the shell completions.
//
//	go run ./packaging/generate dist/sidecar dist
//
// It knows nothing of the command line but how to ask it: a command or flag that is added there is
// in the page, too.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "generate: %v\n", err)
		os.Exit(1) //nolint:forbidigo // because this is package main
	}
}

// patience is how long the binary may take to answer.
const patience = 30 * time.Second

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want the binary and the folder to write to, got %q", args)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	binary, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	ask := func(words ...string) (string, error) {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, binary, words...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s %q: %w: %s", args[0], words, err, &stderr)
		}
		return string(out), nil
	}
	page, err := manual(ask)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	if files["sidecar.1.gz"], err = compress(page); err != nil {
		return err
	}
	for shell, name := range map[string]string{"bash": "sidecar.bash", "zsh": "_sidecar", "fish": "sidecar.fish"} {
		text, err := ask("completion", shell)
		if err != nil {
			return err
		}
		files[name] = []byte(text)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(args[1], name), text, 0o644); err != nil { //nolint:gosec // because everybody may read it
			return err
		}
	}
	return nil
}

// compress is gzip without name and time, so that the same text has the same bytes.
func compress(text string) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
