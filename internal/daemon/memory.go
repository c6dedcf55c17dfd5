package daemon

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// memoryShare is how much of what the control group may have is for Go's memory, in percent. The rest
// is for what Go does not count: threads, the program itself, and the kernel's buffers of sockets.
const memoryShare = 90

// LimitMemory has Go's garbage collector work harder before the process becomes larger than its
// control group may be, which would be its end. $GOMEMLIMIT goes before that. It is for the beginning
// of a process: the control group is not looked at again.
func LimitMemory(log *zap.Logger) {
	if text := os.Getenv("GOMEMLIMIT"); text != "" {
		log.Info("memory is limited by $GOMEMLIMIT", zap.String("limit", text))
		return
	}
	limit, file := groupLimit("/")
	if file == "" {
		return
	}
	limit = limit / 100 * memoryShare
	debug.SetMemoryLimit(limit)
	log.Info(fmt.Sprintf("memory is limited to %d %% of what the control group may have; $GOMEMLIMIT sets another limit", memoryShare),
		zap.Int64("limit", limit), zap.String("from", file))
}

// groupLimit finds the least memory limit, in bytes, of this process's control group and those that
// it is in, and the file that says so; none if that is empty. The root is that of the file system.
func groupLimit(root string) (limit int64, file string) {
	limit = math.MaxInt64
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0, ""
	}
	mounts, err := os.ReadFile(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return 0, ""
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path, see cgroups(7); version 2 has no controllers here.
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		kind, names := "cgroup2", []string{"memory.max", "memory.high"}
		if parts[1] != "" {
			kind, names = "cgroup", []string{"memory.limit_in_bytes"}
			if !hasWord(parts[1], "memory") {
				continue
			}
		}
		top, dir := mountOf(string(mounts), kind, parts[2])
		if top == "" {
			continue
		}
		for ; ; dir = filepath.Dir(dir) {
			for _, name := range names {
				at := filepath.Join(top, dir, name)
				if n, ok := readLimit(filepath.Join(root, at)); ok && n < limit {
					limit, file = n, at
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit, file
}

// mountOf finds where a hierarchy is mounted, and a group's folder below that; top is empty if it is
// not mounted. In a container the group may lie above all that is: then it is what is mounted.
func mountOf(mounts, kind, group string) (top, dir string) {
	for line := range strings.Lines(mounts) {
		// id parent device root mountpoint options … - type source superoptions, see proc_pid_mountinfo(5).
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 || right[0] != kind || kind == "cgroup" && !hasWord(right[2], "memory") {
			continue
		}
		if rest, err := filepath.Rel(left[3], group); err == nil && rest != ".." && !strings.HasPrefix(rest, "../") {
			return left[4], filepath.Join("/", rest)
		}
		if top == "" { // another mount may have it
			top, dir = left[4], "/"
		}
	}
	return top, dir
}

// readLimit reads a limit in bytes; that there is none is "max", or more than any host has.
func readLimit(file string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n > 0 && n < 1<<60
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}
