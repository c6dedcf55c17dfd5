package daemon

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"sidecar/internal/inherit"
)

// handedOver is a unix socket at a path that somebody else keeps, such as systemd, and has handed to
// this process.
func handedOver(t *testing.T, path string) *inherit.Sockets {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	t.Cleanup(func() { ln.Close() })
	over := filepath.Join(t.TempDir(), "over")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waits, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- inherit.Offer(ctx, over, inherit.OfferOptions{
			Sockets: func() ([]inherit.Offered, error) {
				f, err := ln.(*net.UnixListener).File()
				return []inherit.Offered{{Name: "orders", File: f}}, err
			},
			Listening: func() { close(waits) },
		})
	}()
	<-waits
	sockets, h, err := inherit.TakeOver(t.Context(), over)
	if err != nil {
		t.Fatal(err)
	}
	h.Abort()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return sockets
}

func TestAStartThatFailsLeavesTheFileOfAHandedOverSocket(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "orders")
		cfg := parse(t, adminOff+text("orders", "http", "unix:"+path, "127.0.0.1:1")+text("stock", "http", taken(t), "127.0.0.1:1"))
		if _, err := New(cfg, Options{Inherited: handedOver(t, path)}); err == nil {
			t.Fatal("it has started")
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("somebody listens there still, and %v", err)
		}
	})
}

func TestAStopLeavesTheFileOfAHandedOverSocket(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "orders")
		d, err := New(parse(t, adminOff+text("orders", "http", "unix:"+path, "127.0.0.1:1")), Options{Inherited: handedOver(t, path)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		until(t, "it accepts", func() bool { l := d.Status().Listeners; return len(l) == 1 && l[0].Error == "" })
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("somebody listens there still, and %v", err)
		}
	})
}
