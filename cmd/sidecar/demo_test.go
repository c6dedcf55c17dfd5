package main

import (
	"bytes"
	"context"

	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"sidecar/config"
)

const patience = 30 * time.Second

// A text is what the demo writes while others read it.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// find waits until a pattern is in the text, and returns its first group.
func (x *text) find(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		s := x.String()
		if m := re.FindStringSubmatch(s); m != nil {
			return m[len(m)-1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s in:\n%s", pattern, s)
		}
	}
}

const anyPort = "127.0.0.1:0"

func TestTheDemoBalancesOverItsThreeServers(t *testing.T) {
	var out text
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- runDemo(ctx, demoOptions{http: anyPort, tcp: anyPort, every: 20 * time.Millisecond}, &out, io.Discard)
	}()
	t.Cleanup(cancel)
	address := out.find(t, `demo +http://(\S+)`)
	if strings.Contains(out.String(), "sidecar status") {
		t.Error("without an admin interface it says how to ask it")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	servers, failed := map[string]int{}, 0
	for range 60 {
		resp, err := client.Get("http://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(string(body), " ")
		servers[name]++
		if resp.StatusCode != http.StatusOK {
			failed++
		}
	}
	if len(servers) < 2 || failed > 60/demoFailEvery {
		t.Errorf("%v, %d failed", servers, failed)
	}
	out.find(t, `(?s)demo: \d+ attempts?\n(.+)fails every`)
	cancel()
	if err := <-ended; err != nil || !strings.HasSuffix(out.String(), "the demo has ended\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestTheDemoSaysWhichFlagMovesAPort(t *testing.T) {
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	for flag, o := range map[string]demoOptions{
		"--http":  {http: taken, tcp: anyPort},
		"--tcp":   {http: anyPort, tcp: taken},
		"--admin": {http: anyPort, tcp: anyPort, admin: taken},
	} {
		err := runDemo(t.Context(), o, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "with "+flag+",") && !strings.Contains(err.Error(), "is "+flag+",") {
			t.Errorf("%s: %v", flag, err)
		}
	}
	err = runDemo(t.Context(), demoOptions{http: "here", tcp: taken, admin: taken}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), `--http "here": `) || !strings.Contains(err.Error(), taken) {
		t.Errorf("%v", err)
	}
}

func TestTheLogHasTheConfiguredForm(t *testing.T) {
	for format, pattern := range map[string]string{
		"json":    `^\{"level":"warn","ts":"\d{4}-\d\d-\d\dT[^"]+","msg":"here","took":"1\.5s"\}\n$`,
		"console": `^\d\d:\d\d:\d\d\.\d{3}\tWARN\there\t\{"took": "1\.5s"\}\n$`,
	} {
		var b bytes.Buffer
		log := newLogger(config.Log{Level: "warn", Format: format}, &b)
		log.Info("left out")
		log.Warn("here", zap.Duration("took", 1500*time.Millisecond))
		if !regexp.MustCompile(pattern).MatchString(b.String()) {
			t.Errorf("%s: %q", format, b.String())
		}
	}
}

func TestTheLogIsNoLoad(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(config.Log{Level: "info", Format: "json"}, &b)
	for i := range 10_000 {
		log.Warn("request failed", zap.Int("n", i))
	}
	// A hundred of each second and every hundredth after that, on however slow a machine.
	lines := strings.Count(b.String(), "\n")
	if lines < sampleFirst || lines > 5_000 {
		t.Errorf("%d lines", lines)
	}
}
