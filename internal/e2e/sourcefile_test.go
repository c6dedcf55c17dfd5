package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A listed file holds the instances of a service. It is replaced as deployments do: by another
// one of its name.
type listed struct {
	t    *testing.T
	path string
}

func (l listed) replace(content string) {
	l.t.Helper()
	part := l.path + ".part"
	err := os.WriteFile(part, []byte(content), 0o600)
	if err == nil {
		err = os.Rename(part, l.path)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// list are instances in the form that JSON and TOML share.
func list(all ...*origin) string { return `["` + strings.Join(addresses(all), `", "`) + `"]` }

func TestAServiceInAFile(t *testing.T) {
	t.Parallel()
	for kind, form := range map[string]string{"json": `{"orders": %s}`, "toml": "instances = %s\n"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			inFile(t, kind, func(all ...*origin) string { return fmt.Sprintf(form, list(all...)) })
		})
	}
}

func inFile(t *testing.T, kind string, form func(...*origin) string) {
	file := listed{t, filepath.Join(folder(t), "instances."+kind)}
	one := serveOrigins(t, "first", "second", "third", "fourth")
	file.replace(form(one[0]))
	f := follow(t, "", fmt.Sprintf("source = \"file\"\nfile = { path = %q }", file.path))

	file.replace(form(one[0], one[1]))
	f.wantTraffic(one[1])
	f.wantLine("file "+file.path, "2 instances")
	file.replace(form(one[0]))
	f.wantGone(one[1])

	file.replace(form(one[0])[:12])
	f.wantFailing("file", file.path)
	f.outlast(time.Second)
	file.replace(form(one[0], one[2]))
	f.wantResumed(one[2], time.Now())

	if err := os.Remove(file.path); err != nil {
		t.Fatal(err)
	}
	f.wantFailing(file.path, "no such file", "discovery.file.path")
	f.outlast(time.Second)
	file.replace(form(one[0], one[2], one[3]))
	f.wantResumed(one[3], time.Now())
	f.end(2)
}
