package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecar/admin"
	"sidecar/config"
)

// parse makes a configuration of text. Its admin interface is off unless it says otherwise.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("config.toml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// taken is an address that somebody listens on.
func taken(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// text is that of a service with one instance.
func text(name, protocol, listen, instance string) string {
	return fmt.Sprintf(`
[[service]]
name = %q
protocol = %q
listen = %q
discovery = { source = "static", instances = [%q] }
`, name, protocol, listen, instance)
}

const adminOff = "[admin]\nlisten = \"\"\n"

func TestNewThatFailsLeavesNothingOpen(t *testing.T) {
	port := taken(t)
	_, number, _ := net.SplitHostPort(port)
	dir := t.TempDir()
	socket := filepath.Join(dir, "first")
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{
			"listener", adminOff + text("first", "http", "unix:"+socket, "127.0.0.1:1") + text("second", "tcp", port, "127.0.0.1:1"),
			[]string{`service "second"`, port, "in use", "ss -ltnp"},
		},
		{
			"admin", fmt.Sprintf("[admin]\nlisten = %q\n", port) + text("first", "http", "unix:"+socket, "127.0.0.1:1"),
			[]string{"admin", number, "in use"},
		},
		{
			"consul", adminOff + "[consul.tls]\nca_file = \"/none/ca.pem\"\n" + text("first", "http", "unix:"+socket, "127.0.0.1:1") +
				"[[service]]\nname = \"second\"\nlisten = \"127.0.0.1:0\"\n",
			[]string{`service "second"`, "consul", "/none/ca.pem"},
		},
		{
			"access log", adminOff + "[access_log]\npath = \"/none/access.log\"\n" + text("first", "http", "unix:"+socket, "127.0.0.1:1"),
			[]string{"access log", "/none/access.log", "no such file"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantNothingLeft(t, func(t *testing.T) {
				d, err := New(parse(t, tt.config), Options{})
				if err == nil || d != nil {
					t.Fatalf("New returned %v, %v", d, err)
				}
				var closed *AdminError
				if errors.As(err, &closed) != (tt.name == "admin") {
					t.Errorf("%#v", err)
				}
				for _, part := range tt.want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q is missing in: %v", part, err)
					}
				}
				if c, err := net.Dial("unix", socket); err == nil {
					c.Close()
					t.Error("the first service still listens")
				}
			})
		})
	}
}

func TestAListenErrorSaysWhichListenerItWas(t *testing.T) {
	port := taken(t)
	cfg := parse(t, adminOff+fmt.Sprintf("[[service]]\nname = \"orders\"\nlisten = [\"127.0.0.1:0\", %q]\n", port))
	_, err := New(cfg, Options{})
	var le *ListenError
	if !errors.As(err, &le) || le.Service != "orders" || le.Index != 1 || le.Address.String() != port || !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("%#v", err)
	}
	for number, want := range map[syscall.Errno]string{
		syscall.EACCES: "CAP_NET_BIND_SERVICE", syscall.EADDRNOTAVAIL: "no such address",
	} {
		le := &ListenError{Service: "orders", Err: number}
		if !strings.Contains(le.Error(), want) {
			t.Errorf("%v: %v", number, le)
		}
	}
}

// A running is a daemon that runs.
type running struct {
	*Daemon
	stop  context.CancelFunc
	ended chan error
}

func run(t *testing.T, config string) *running {
	t.Helper()
	d, err := New(parse(t, config), Options{Version: "v0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{d, cancel, make(chan error, 1)}
	go func() { r.ended <- d.Run(ctx) }()
	t.Cleanup(cancel)
	return r
}

func (r *running) end(t *testing.T) error {
	t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		t.Fatal("Run has not returned")
		return nil
	}
}

func (r *running) dial(t *testing.T, listener int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Status().Listeners[listener].Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// silent is an endpoint that accepts and says nothing; got has a word for each connection
// from which something was read.
func silent(t *testing.T) (address string, got chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got = make(chan struct{}, 8)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var b [1]byte
				if _, err := io.ReadFull(c, b[:]); err == nil {
					got <- struct{}{}
				}
				io.Copy(io.Discard, c)
			}()
		}
	}()
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String(), got
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		address, _ := silent(t)
		r := run(t, "[admin]\nlisten = \"127.0.0.1:0\"\n"+text("orders", "http", "127.0.0.1:0", address)+text("queue", "tcp", "127.0.0.1:0", address))
		client := &admin.Client{Address: r.AdminAddress()}
		for deadline := time.Now().Add(patience); ; {
			ready, err := client.Ready(t.Context())
			if err == nil && ready.Ready {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("not ready: %v, %v", ready, err)
			}
		}
		if err := client.Healthy(t.Context()); err != nil {
			t.Error(err)
		}
		d, err := client.Status(t.Context())
		if err != nil || len(d.Services) != 2 || len(d.Listeners) != 2 || d.Build.Version != "v0" || d.Services[1].SourceKind != "static" {
			t.Errorf("%+v, %v", d, err)
		}
		if err := r.end(t); err != nil {
			t.Errorf("Run returned %v", err)
		}
		for _, l := range d.Listeners {
			if c, err := net.Dial("tcp", l.Address); err == nil {
				c.Close()
				t.Errorf("%s still accepts", l.Address)
			}
		}
		if _, err := client.Status(t.Context()); err == nil {
			t.Error("the admin interface still answers")
		}
	})
}

func TestRunWithAContextThatHasEndedEndsEverything(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		r := run(t, adminOff+text("orders", "http", "127.0.0.1:0", "127.0.0.1:1"))
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatTakesLongerThanTheDrainIsCut(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		address, got := silent(t)
		r := run(t, adminOff+"[runtime]\ndrain = \"20ms\"\n"+text("orders", "http", "127.0.0.1:0", address)+text("queue", "tcp", "127.0.0.1:0", address))
		<-r.state.Load().services[0].upstream.Known()
		<-r.state.Load().services[1].upstream.Known()
		request, session := r.dial(t, 0), r.dial(t, 1)
		fmt.Fprint(request, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		fmt.Fprint(session, "x")
		<-got
		<-got
		if err := r.end(t); !errors.Is(err, ErrCut) {
			t.Errorf("Run returned %v, want ErrCut", err)
		}
		for _, c := range []net.Conn{request, session} {
			if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Error("a connection that was cut has something to read")
			}
		}
	})
}

func TestNotReadyUntilEveryServiceIsKnown(t *testing.T) {
	d, err := New(parse(t, adminOff+"[consul]\naddress = \"127.0.0.1:1\"\n"+text("orders", "http", "127.0.0.1:0", "127.0.0.1:1")+
		"[[service]]\nname = \"stock\"\nlisten = \"127.0.0.1:0\"\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if lines := d.missing(); len(lines) != 2 || lines[1] != "stock: its source has not answered yet" {
		t.Errorf("before Run: %q", lines)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	<-d.state.Load().services[0].upstream.Known()
	for deadline := time.Now().Add(patience); ; {
		lines := d.missing()
		if len(lines) == 1 && strings.HasPrefix(lines[0], "stock: ") && strings.Contains(lines[0], "127.0.0.1:1") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q", lines)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if lines := d.missing(); len(lines) != 1 || !strings.Contains(lines[0], "draining") {
		t.Errorf("after Run: %q", lines)
	}
}

func TestSystemdIsToldWhatHappens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	hear := func() string {
		t.Helper()
		b := make([]byte, 256)
		if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	r := run(t, adminOff+text("orders", "http", "127.0.0.1:0", "127.0.0.1:1"))
	if s := hear(); s != "READY=1\nSTATUS=serving" {
		t.Errorf("heard %q", s)
	}
	if s := hear(); s != "STATUS=ready: the instances of every service are known" {
		t.Errorf("heard %q", s)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if s := hear(); s != "STOPPING=1\nSTATUS=draining: nothing more is accepted" {
		t.Errorf("heard %q", s)
	}
}

func TestMetricsKnowEndpointsSourcesAndLoops(t *testing.T) {
	address, _ := silent(t)
	r := run(t, "[admin]\nlisten = \"127.0.0.1:0\"\n"+text("orders", "http", "127.0.0.1:0", address))
	<-r.state.Load().services[0].upstream.Known()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + r.AdminAddress() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf(`sidecar_endpoint_usable{endpoint=%q,service="orders",zone=""} 1`, address),
		`sidecar_source_known{service="orders",source="static"} 1`,
		`sidecar_loop_connections{loop="0"} 0`,
		`sidecar_http_requests_in_flight{service="orders"} 0`,
	} {
		if !strings.Contains(string(body), want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}
