package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

// keeping is a state_dir for a configuration.
func keeping(t *testing.T) (dir, config string) {
	dir = filepath.Join(folder(t), "state")
	return dir, fmt.Sprintf("[runtime]\nstate_dir = %q\n", dir)
}

func restartedWithoutAgent(t *testing.T, dc *consultest.Datacenter) {
	dir, config := keeping(t)
	o := stage(t, dc, "disk", config)
	o.wantKept(dir)
	o.restart(dc.Client.Stop)
	o.wantFailing(dc.Client.Address(), "refused")
	dc.Client.Start()
	o.end(time.Now())
}

func restartedInSilence(t *testing.T, dc *consultest.Datacenter) {
	dir, config := keeping(t)
	o := stage(t, dc, "silence", config)
	o.wantKept(dir)
	o.restart(dc.Client.Pause)
	back := time.Now()
	dc.Client.Resume()
	o.end(back)
}

// wantKept waits until the instances are on disk, those of the further services too.
func (o *ordeal) wantKept(dir string) {
	o.t.Helper()
	within(o.t, patience, "the instances are on disk", func() bool {
		for _, s := range o.asides {
			if !holds(dir, s+"-1", fmt.Sprintf(`"service":%q`, s)) {
				return false
			}
		}
		of := fmt.Sprintf(`"service":%q`, o.name)
		return holds(dir, o.first.address, of) && holds(dir, o.second.address, of)
	})
}

// holds tells whether every file of a folder has a text in it, or every one of those that have all
// of others. One that is still being written does not count: whoever is killed does not finish it.
func holds(dir, text string, of ...string) bool {
	files, with := 0, 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(path) != ".tmp" {
			content, _ := os.ReadFile(path)
			if !hasAll(string(content), of) {
				return nil
			}
			files++
			if bytes.Contains(content, []byte(text)) {
				with++
			}
		}
		return nil
	})
	return files > 0 && with == files
}

// restart kills the sidecar, has something happen to its registry, and starts it again. It serves
// what it served before, and is ready.
func (o *ordeal) restart(strike func()) {
	o.t.Helper()
	o.load.end(o.t)
	o.checked = true
	o.kill()
	strike()
	begin := time.Now()
	o.sidecar = start(o.t, o.config)
	address := o.address(o.name)
	within(o.t, soon, "it serves from disk", func() bool { return get(o.t, address, "/").status == http.StatusOK })
	o.t.Logf("it serves from disk %v after its start (required: 1s)", time.Since(begin).Round(time.Millisecond))
	if r, err := o.Ready(o.t.Context()); err != nil || !r.Ready {
		o.t.Errorf("not ready, although everything is served: %+v, %v", r, err)
	}
	o.waitTotal(o.name, 2)
	o.ask()
	o.outlast(time.Second)
}

// nothingOnDisk has two services: one that the registry knows when it is back, and one that is
// registered only then.
func nothingOnDisk(t *testing.T, dc *consultest.Datacenter) {
	_, config := keeping(t)
	known, late := serveOrigin(t, "known-1"), serveOrigin(t, "late-1")
	dc.Client.RegisterMany(consultest.Service{Name: "known", Port: known.port()})
	dc.Client.Stop()
	s := start(t, config+"[[service]]\nname = \"known\"\nlisten = \"127.0.0.1:0\"\n[[service]]\nname = \"late\"\nlisten = \"127.0.0.1:0\"\n",
		consulAt(dc.Client), "SIDECAR_CONSUL_TOKEN="+dc.Token)
	if a := get(t, s.address("known"), "/"); a.status != http.StatusServiceUnavailable || a.header.Get("Sidecar-Error") != "not-discovered" {
		t.Errorf("%+v", a)
	}
	dc.Client.Start()
	for _, one := range []struct {
		service string
		before  func()
	}{
		{"known", func() {}},
		{"late", func() { dc.Client.RegisterMany(consultest.Service{Name: "late", Port: late.port()}) }},
	} {
		one.before()
		address := s.address(one.service)
		took := within(t, soon, one.service+" is served", func() bool { return get(t, address, "/").status == http.StatusOK })
		t.Logf("%s is served %v after the registry is back with it (required: 2s)", one.service, took.Round(time.Millisecond))
	}
	s.waitReady()
}
