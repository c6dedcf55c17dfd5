package daemon

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestALineNamesItsServiceOnce(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	core, logs := observer.New(zap.DebugLevel)
	d, err := New(parse(t, adminOff+text("mail", "tcp", "unix:"+socket, "127.0.0.1:1")), Options{Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	ready, done := context.WithTimeout(t.Context(), patience)
	defer done()
	if err := d.AwaitReady(ready); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("unix", socket); err != nil {
		t.Error(err)
	} else {
		c.SetDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, c) // nobody answers at the endpoint
		c.Close()
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	lines := logs.FilterMessage("session failed").All()
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	named := 0
	for _, f := range lines[0].Context {
		if f.Key == "service" && f.String == "mail" {
			named++
		}
	}
	if named != 1 {
		t.Errorf("the service is named %d times in %v", named, lines[0].ContextMap())
	}
}
