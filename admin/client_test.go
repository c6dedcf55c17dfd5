package admin

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTheClientGetsWhatTheServerShows(t *testing.T) {
	s := start(t, full())
	c := &Client{Address: s.Address()}
	d, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	if !reflect.DeepEqual(d.Services, want.Services) || !d.Started.Equal(want.Started) {
		t.Errorf("%+v", d)
	}
	if text, err := c.Config(t.Context()); err != nil || string(text) != "[admin]\n" {
		t.Errorf("%q, %v", text, err)
	}
	if b, err := c.Build(t.Context()); err != nil || b.Version != "1.2.3" || b.Revision != "abc" {
		t.Errorf("%+v, %v", b, err)
	}
	if r, err := c.Ready(t.Context()); err != nil || !r.Ready {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNotReadyIsNoError(t *testing.T) {
	s := start(t, Options{Ready: func() []string { return []string{"orders: no instances"} }})
	r, err := (&Client{Address: s.Address()}).Ready(t.Context())
	if err != nil || r.Ready || len(r.Missing) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestErrorsOfTheClientNameTheNextStep(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	stranger := httptest.NewServer(http.NotFoundHandler())
	defer stranger.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "sidecar/9")
		_, _ = w.Write([]byte("<html>"))
	}))
	defer other.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	old := start(t, Options{}) // has no /status

	for address, part := range map[string]string{
		closed.Addr().String():                     "no sidecar answers on " + closed.Addr().String() + ": connection refused; is it running, or does admin.listen differ?",
		"unix:" + filepath.Join(t.TempDir(), "no"): "no such file or directory; is it running",
		stranger.Listener.Addr().String():          "is not a sidecar; does admin.listen differ?",
		other.Listener.Addr().String():             "is it another version?",
		mute.Addr().String():                       "no answer from " + mute.Addr().String() + " in time",
		old.Address():                              "answered 404 to /status",
		"nonsense":                                 "write host:port or unix:/path",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if address == mute.Addr().String() {
			cancel()
			ctx, cancel = context.WithDeadline(t.Context(), time.Now())
		}
		if _, err := (&Client{Address: address}).Status(ctx); err == nil || !strings.HasPrefix(err.Error(), "admin: ") || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v\nwant %q", address, err, part)
		}
		cancel()
	}
}
