package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const (
	unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	// legacy has the root of its mount at %s.
	legacy = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n" +
		"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
		"35 31 0:32 %s /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	none = "9223372036854771712"
)

func TestTheLeastLimitOfTheControlGroupsHolds(t *testing.T) {
	const g = "sys/fs/cgroup/"
	for name, x := range map[string]struct {
		group, mounts string
		files         map[string]string
		limit         int64
		file          string
	}{
		"of version 2": {"0::/system.slice/sidecar.service\n", unified, map[string]string{
			g + "system.slice/sidecar.service/memory.max": "1000\n", g + "system.slice/sidecar.service/memory.high": "max\n", g + "system.slice/memory.max": "max\n",
		}, 1000, "/" + g + "system.slice/sidecar.service/memory.max"},
		"of the slice": {"0::/a/b\n", unified, map[string]string{
			g + "a/b/memory.max": "1000\n", g + "a/memory.max": "500\n",
		}, 500, "/" + g + "a/memory.max"},
		"where it is throttled": {"0::/a\n", unified, map[string]string{
			g + "a/memory.max": "1000\n", g + "a/memory.high": "800\n",
		}, 800, "/" + g + "a/memory.high"},
		"in a container":             {"0::/\n", unified, map[string]string{g + "memory.max": "700"}, 700, "/" + g + "memory.max"},
		"whose group is not mounted": {"0::/../../x\n", unified, map[string]string{g + "memory.max": "700"}, 700, "/" + g + "memory.max"},
		"none":                       {"0::/a\n", unified, map[string]string{g + "a/memory.max": "max\n"}, 0, ""},
		"no files":                   {"0::/a\n", unified, nil, 0, ""},
		"not mounted":                {"0::/a\n", "", map[string]string{g + "a/memory.max": "1000"}, 0, ""},
		"not a number":               {"0::/a\n", unified, map[string]string{g + "a/memory.max": "-5"}, 0, ""},
		"of version 1": {"8:pids:/x\n4:memory:/x/y\n0::/\n", fmt.Sprintf(legacy, "/"), map[string]string{
			g + "memory/x/y/memory.limit_in_bytes": "2000\n", g + "memory/memory.limit_in_bytes": none,
		}, 2000, "/" + g + "memory/x/y/memory.limit_in_bytes"},
		"of version 1 in a container": {"4:cpu,memory:/docker/1\n", fmt.Sprintf(legacy, "/docker/1"), map[string]string{
			g + "memory/memory.limit_in_bytes": "3000\n",
		}, 3000, "/" + g + "memory/memory.limit_in_bytes"},
		"none of version 1": {"4:memory:/x\n", fmt.Sprintf(legacy, "/"), map[string]string{g + "memory/x/memory.limit_in_bytes": none}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			files := map[string]string{"proc/self/cgroup": x.group, "proc/self/mountinfo": x.mounts}
			for path, text := range x.files {
				files[path] = text
			}
			for path, text := range files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			limit, file := groupLimit(root)
			if file != x.file || file != "" && limit != x.limit {
				t.Errorf("%d of %s, want %d of %s", limit, file, x.limit, x.file)
			}
		})
	}
	if _, file := groupLimit(t.TempDir()); file != "" {
		t.Errorf("%s, where there is no /proc", file)
	}
}
