package admin

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Whoever opens connections without end takes no descriptors from the traffic; when they are gone
// the server answers again.
func TestConnectionsAreBounded(t *testing.T) {
	s := start(t, Options{Listen: "127.0.0.1:0"})
	var all []net.Conn
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	for range maxConnections {
		c, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for s.connections.Load() < maxConnections { // until the server has seen them all
		one, err := net.Dial("tcp", s.Address())
		if err != nil {
			t.Fatal(err)
		}
		one.Close()
	}
	more, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer more.Close()
	if err := more.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := more.Read(make([]byte, 1)); err == nil {
		t.Error("one more is served")
	}
	for _, c := range all {
		c.Close()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		res, err := client.Get("http://" + s.Address() + "/healthz")
		if err != nil {
			continue // the others have not all been heard to end
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return
	}
}
