package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// describe says when, where and with what the figures were made.
func (b *bench) describe() string {
	var out strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&out, "- %s: %s\n", key, value)
		}
	}
	fmt.Fprintf(&out, "## Side by side, %s\n\n", time.Now().Format("2006-01-02 15:04 MST"))
	line("machine", fmt.Sprintf("%s, %d cores, %s", cpuModel(), runtime.NumCPU(), kernel()))
	if b.wants(nameSidecar) {
		line("sidecar", b.firstLine(b.bin.sidecar, "version"))
		line("Go", runtime.Version())
	}
	if b.wants(nameBaseline) {
		line("baseline", b.firstLine(b.bin.baseline, "version"))
	}
	if b.wants(nameHAProxy) {
		line("HAProxy", b.firstLine(b.bin.haproxy, "-v"))
	}
	line("nginx", b.firstLine(b.bin.nginx, "-v"))
	line("wrk", b.firstLine(b.bin.wrk, "-v"))
	if b.bin.h2load != "" {
		line("h2load", b.firstLine(b.bin.h2load, "--version"))
	}
	line("runs", fmt.Sprintf("%d rounds of %v per proxy and combination, in turns; medians", b.opts.rounds, b.opts.duration))
	if b.opts.rounds < 3 {
		line("caution", "fewer than three rounds say little")
	}
	return out.String()
}

// firstLine is the first line that a program says about itself; some end with a failure then.
func (b *bench) firstLine(path string, args ...string) string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, args...).CombinedOutput()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	first = strings.TrimSpace(first)
	if first == "" {
		return "of unknown version"
	}
	return first
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for l := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "Linux"
	}
	release := unix.ByteSliceToString(u.Release[:])
	number, _, _ := strings.Cut(release, "-") // without the builder's name
	return "Linux " + number
}
