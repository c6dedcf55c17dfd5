package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// buffered is how much lies in the pipes of a process: bytes that are being spliced, which are
// memory that is not its own.
func (p *process) buffered() int {
	p.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	total, seen := 0, map[string]bool{}
	for _, entry := range list {
		path := filepath.Join(dir, entry.Name())
		name, err := os.Readlink(path)
		if err != nil || !strings.HasPrefix(name, "pipe:") || seen[name] {
			continue
		}
		seen[name] = true // both ends have one name
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		if n, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err == nil { // FIONREAD by its other name
			total += n
		}
		unix.Close(fd)
	}
	return total
}

// readSlowly has n clients ask for a large response and take nothing but its head. It returns
// when the origin can write no more, with what ends them.
func readSlowly(t *testing.T, address string, o *large, n int, path string) (leave func()) {
	t.Helper()
	clients := make([]*wire, n)
	var asking sync.WaitGroup
	for i := range clients {
		asking.Go(func() {
			w, err := dial(address)
			if err != nil {
				t.Error(err)
				return
			}
			clients[i] = w
			w.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
			if err = w.send(path); err == nil {
				_, err = http.ReadResponse(w.r, nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	leave = func() {
		for _, w := range clients {
			if w != nil {
				w.Close()
			}
		}
	}
	if t.Failed() {
		leave()
		t.FailNow()
	}
	last, same := int64(0), 0
	within(t, 2*patience, "the origin can write no more", func() bool {
		now := o.written.Load()
		if same++; now != last {
			last, same = now, 0
		}
		return same == 40
	})
	return leave
}

// What a reader that does not read may hold: its one buffer and small change in the process,
// and, where its response is spliced, what is in the pipe.
const (
	heldPerReader    = (16 + 12) << 10
	splicedPerReader = 64 << 10
)

// keptPipes is how many descriptors two loops keep at the most for splicing later.
const keptPipes = 2 * 2 * 32

// Whoever does not read is waited for, and the rest of the response stays where it comes from.
func TestSlowReadersHoldBackTheWriterAndNotMemory(t *testing.T) {
	t.Parallel()
	readers := sized(200, 1000)
	for framing, path := range map[string]string{ // 64 MiB: no socket takes that much
		"Content-Length": "/67108864",
		"chunked":        "/67108864?chunked",
	} {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			o := serveLarge(t)
			s := start(t, static("orders", "", o.address), "SIDECAR_RUNTIME_LOOPS=2", "GOGC=10") // so that garbage is collected often
			before, pipes := rest(t, s), s.buffered()
			t.Logf("before: %v", before)
			leave := readSlowly(t, s.address("orders"), o, readers, path)
			during := collected(t, s, "all are served", func(f footprint) bool { return int(f.tasks) >= readers })
			spliced := s.buffered() - pipes
			t.Logf("during: %v, %.1f MiB in pipes; the origin has sent %d KiB to each", during, float64(spliced)/(1<<20), o.written.Load()/int64(readers)>>10)
			leave()

			each := func(bytes float64) float64 { return bytes / float64(readers) / 1024 }
			t.Logf("each of %d readers costs %.1f KiB of heap, %.1f KiB resident, %.1f KiB in pipes", readers,
				each(during.heap-before.heap), each(during.resident-before.resident), each(float64(spliced)))
			if held := during.heap - before.heap; held > float64(readers*heldPerReader) {
				t.Errorf("each reader holds %.1f KiB of heap", each(held))
			}
			if spliced > readers*splicedPerReader {
				t.Errorf("each reader holds %.1f KiB in pipes", each(float64(spliced)))
			}
			within(t, patience, "connections, tasks and descriptors are given back", func() bool {
				m := metrics(t, s)
				return sum(m, "sidecar_loop_connections") == 0 && sum(m, "sidecar_loop_tasks") == 0 && s.descriptors() <= before.descriptors+keptPipes
			})
			if e := s.endpoint("orders", o.address); e.InFlight != 0 {
				t.Errorf("%d requests in flight on the endpoint", e.InFlight)
			}
		})
	}
}
