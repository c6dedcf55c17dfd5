package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecar/accesslog"
	"sidecar/admin"
	"sidecar/tap"
)

// tapped is a sidecar whose service orders is watched at p, over a unix socket.
func tapped(t *testing.T, p *tap.Point) string {
	t.Helper()
	return answering(t, admin.Options{
		Listen: "unix:" + filepath.Join(t.TempDir(), "admin"), Status: document,
		Tap: func(service string) (*tap.Point, error) {
			if service != "orders" {
				return nil, admin.ErrNoService
			}
			return p, nil
		},
	})
}

// traffic lets requests pass all the time, in turn a good one and one that fails.
func traffic(t *testing.T, p *tap.Point) {
	t.Helper()
	ended := make(chan struct{})
	t.Cleanup(func() { <-ended })
	ctx := t.Context()
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			line := &accesslog.Record{
				Service: "orders", Client: netip.MustParseAddrPort("10.1.2.3:4567"), Method: []byte("GET"), Target: []byte("/a?b"), Status: 200,
				Duration: 1234 * time.Microsecond, Flag: accesslog.FlagOK, Attempts: new(accesslog.Attempts), Time: time.Date(2026, 5, 4, 12, 0, 0, 0, time.Local),
			}
			line.Attempts.Add(accesslog.Attempt{Endpoint: "10.0.0.1:80", Outcome: "reset", Duration: time.Millisecond})
			if n%2 > 0 {
				line.Status, line.Flag = 502, "reset"
				line.Attempts.Add(accesslog.Attempt{Endpoint: "10.0.0.2:80", Outcome: "status", Status: 503})
			}
			p.Pass(line, tap.Heads{Request: []byte("Host: orders\nCookie: geheim\n"), Response: []byte("X: y\n")})
			runtime.Gosched()
		}
	}()
}

const (
	fine   = "12:00:00.000  10.1.2.3:4567          GET      200     1.2ms  10.0.0.1:80            /a?b\n"
	failed = "12:00:00.000  10.1.2.3:4567          GET      502     1.2ms  10.0.0.2:80            /a?b  [2 tries: 10.0.0.1:80 reset, 10.0.0.2:80 status 503; reset]\n"
)

func TestTapShowsALineForEachRequest(t *testing.T) {
	p := new(tap.Point)
	address := tapped(t, p)
	traffic(t, p)
	for flags, want := range map[string]string{
		"--status 2xx -n 2":                 fine + fine,
		"--status 502 -n 1":                 failed,
		"--endpoint b -n 1":                 failed,
		"--endpoint 10.0.0.2:80 -n 1":       failed,
		"--status 200 -n 1 --headers":       fine + "    > Host: orders\n    > Cookie: <hidden>\n    < X: y\n",
		"--status 200 -n 1 --all-headers":   fine + "    > Host: orders\n    > Cookie: geheim\n    < X: y\n",
		"--status 200 -n 1 --color always":  strings.Replace(fine, "200", green+"200"+plain, 1),
		"--status 200 -n 1 --rate 1 orders": fine,
	} {
		status, out, said := sidecar(append([]string{"tap", "--admin", address}, strings.Fields(flags)...)...)
		if status != 0 || out != want || said != "" && !strings.Contains(said, "left out by --rate") {
			t.Errorf("%s: %d\n%s%s\nwant\n%s", flags, status, out, said, want)
		}
	}
	_, out, _ := sidecar("tap", "--admin", address, "--json", "-n", "3", "--status", "5xx")
	n := 0
	for line := range strings.Lines(out) {
		var r tap.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Status != 502 || len(r.Attempts) != 2 {
			t.Errorf("%s: %v", line, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d lines of JSON", n)
	}
}

func TestTapSaysWhatIsWrong(t *testing.T) {
	address := tapped(t, new(tap.Point))
	wantCommand(t, 1, "", `sidecar: there is no service "order"; did you mean "orders"?`, "tap", "order", "--admin", address)
	wantCommand(t, 1, "", `service orders has no endpoint "x"; those it has: a (10.0.0.1:80)`, "tap", "--endpoint", "x", "--admin", address)
	wantCommand(t, 2, "", `--status: status "9xx" is none; want a code such as 503`, "tap", "--status", "9xx", "--admin", address)
	wantCommand(t, 2, "", "--rate is 1 to 1000, and not 0", "tap", "--rate", "0", "--admin", address)
	wantCommand(t, 2, "", "--count is 0 or more, and not -1", "tap", "-n", "-1", "--admin", address)
	wantCommand(t, 3, "", "no sidecar answers", "tap", "orders", "--admin", "unix:/none/admin")
}

// tapping runs tap until it ends by itself; what it prints comes by the reader.
func tapping(t *testing.T, address string) (out *bufio.Reader, ended chan int) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	ended = make(chan int, 1)
	go func() {
		var said strings.Builder
		status := main1([]string{"tap", "--admin", address, "--rate", "1000"}, w, &said)
		_ = w.Close()
		ended <- status
	}()
	return bufio.NewReader(r), ended
}

func TestTapEndsByASignal(t *testing.T) {
	p := new(tap.Point)
	address := tapped(t, p)
	traffic(t, p)
	out, ended := tapping(t, address)
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = out.WriteTo(new(strings.Builder)) }() // a full pipe would hold it up
	if status := <-ended; status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestTapEndsWithTheService(t *testing.T) {
	p := new(tap.Point)
	_, ended := tapping(t, tapped(t, p))
	for !p.Watched() {
		runtime.Gosched()
	}
	p.Close()
	if status := <-ended; status != 1 {
		t.Errorf("exit status %d", status)
	}
}

func TestTapIsNotRewrittenByWhatPasses(t *testing.T) {
	const evil = "x\x1b[2J\ny"
	r := &tap.Record{
		Method: evil, Target: evil, Endpoint: evil, Flag: evil, GRPC: evil, Tries: 2,
		Attempts: []tap.Attempt{{Endpoint: evil, Outcome: evil}}, RequestHeaders: []tap.Field{{Name: evil, Value: evil}},
	}
	text := tapText(r, painter{})
	if strings.Contains(text, "\x1b") || strings.Count(text, "\n") != 2 {
		t.Errorf("%q", text)
	}
}

func TestWhatEndsHowTheUserHasEndedItIsNoFailure(t *testing.T) {
	var said strings.Builder
	if status := exitStatus(context.Canceled, &said); status != exitFailed || said.String() != "" {
		t.Errorf("a question that was given up: %d %q", status, said.String())
	}
	if status := exitStatus(errors.New("admin: one\ntwo"), &said); status != exitFailed || said.String() != "sidecar: one\ntwo\n" {
		t.Errorf("%d %q", status, said.String())
	}
}
