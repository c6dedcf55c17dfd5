package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/admin"
)

// long is a drain that no test waits for.
const long = "[runtime]\ndrain = \"1h\"\n"

// silence is a service whose registry does not answer.
func silence(name, listen string) string {
	return "[consul]\naddress = \"127.0.0.1:1\"\n[[service]]\nname = \"" + name + "\"\nprotocol = \"http\"\nlisten = \"" + listen + "\"\n"
}

// A service that is new has something to lose where it takes an address from another.
func TestWhatTakesAnothersAddressIsWaitedFor(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		p, q := filepath.Join(t.TempDir(), "p"), filepath.Join(t.TempDir(), "q")
		orders := func(listen string) string {
			return adminOff + long + "[[service]]\nname = \"orders\"\nprotocol = \"http\"\nlisten = [" + listen +
				"]\ndiscovery = { source = \"static\", instances = [\"" + says(t, "x").address + "\"] }\n"
		}
		r := runReloading(t, orders(`"unix:`+p+`", "unix:`+q+`"`))
		want(t, p, "x")
		r.refuse(t, adminOff+silence("stock", "unix:"+p), "stock", "does not know its instances")
		want(t, p, "x")
		r.refuse(t, orders(`"unix:`+q+`"`)+silence("stock", "unix:"+p), "stock", "does not know its instances")
		want(t, p, "x")
		r.options.Warming = patience
		r.reload(t, adminOff+long+text("stock", "http", "unix:"+p, says(t, "y").address))
		want(t, p, "y")
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// Clients of an address do not notice that the name of what is behind it changes.
func TestAServiceIsRenamedUnderItsClients(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		p, endpoint := filepath.Join(t.TempDir(), "p"), says(t, "x").address
		names := []string{adminOff + text("orders", "http", "unix:"+p, endpoint), adminOff + text("stock", "http", "unix:"+p, endpoint)}
		r := runPatient(t, names[0])
		done := make(chan struct{})
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						want(t, p, "x")
					}
				}
			})
		}
		for i := range 50 {
			r.reload(t, names[(i+1)%2])
		}
		close(done)
		clients.Wait()
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// Who is connected to an address goes on with what was behind it, whatever its name stands for now.
func TestNamesAreSwappedAndConnectionsStay(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		p, q := filepath.Join(t.TempDir(), "p"), filepath.Join(t.TempDir(), "q")
		x, y := says(t, "x").address, says(t, "y").address
		r := runPatient(t, adminOff+long+text("a", "http", "unix:"+p, x)+text("b", "http", "unix:"+q, y))
		first, second := call(t, p), call(t, q)
		began := time.Now()
		first.want(t, "x", began)
		second.want(t, "y", began)
		r.reload(t, adminOff+long+text("b", "http", "unix:"+p, x)+text("a", "http", "unix:"+q, y))
		first.want(t, "x", began)
		second.want(t, "y", began)
		want(t, p, "x")
		want(t, q, "y")
		first.Close()
		second.Close()
		r.retiring.Wait()
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// From the reload on that asks for TLS nothing is sent in plain text any more, though there are
// connections that could be used.
func TestConnectionsInPlainTextAreNotUsedForTLS(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		p, endpoint := filepath.Join(t.TempDir(), "p"), says(t, "plain")
		// With one loop there is one pool.
		orders := adminOff + "[runtime]\nloops = 1\n" + text("orders", "http", "unix:"+p, endpoint.address)
		r := runPatient(t, orders)
		want(t, p, "plain")
		r.reload(t, orders+"upstream_tls = { enabled = true }\n")
		for range 3 {
			if code, body, err := fetch(p); err != nil || code == http.StatusOK {
				t.Errorf("got %d %q, %v", code, body, err)
			}
		}
		if n := endpoint.requests.Load(); n != 1 {
			t.Errorf("%d requests were sent in plain text, want that before", n)
		}
		r.reload(t, orders)
		want(t, p, "plain")
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// What was made before two reloads is cut by the second one, which removes its instance.
func TestSessionsAndTunnelsEndWithTheInstanceThatAReloadRemoves(t *testing.T) {
	for protocol, endpoint := range map[string]func(*testing.T) string{"tcp": echo, "http": upgrading} {
		t.Run(protocol, func(t *testing.T) {
			wantNothingLeft(t, func(t *testing.T) {
				a, b := endpoint(t), endpoint(t)
				queue := func(instances string) string {
					return adminOff + long + fmt.Sprintf("[[service]]\nname = \"queue\"\nprotocol = %q\nlisten = \"127.0.0.1:0\"\non_down = \"close\"\n", protocol) +
						"discovery = { source = \"static\", instances = [" + instances + "] }\n"
				}
				r := runPatient(t, queue(`"`+a+`"`))
				begin := func() net.Conn {
					c := r.dial(t, 0)
					if protocol == "http" {
						upgrade(t, c)
					}
					talk(t, c)
					return c
				}
				first := begin()
				r.reload(t, queue(`"`+a+`", "`+b+`"`))
				talk(t, first)
				r.reload(t, queue(`"`+b+`"`))
				if n, err := first.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("what goes to an instance that is gone goes on: %v", err)
				}
				begin().Close()
				if err := r.end(t); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

const upgraded = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// upgrading is an endpoint that changes over to a protocol of giving back what it gets.
func upgrading(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := io.WriteString(c, upgraded); err == nil {
			io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// upgrade asks for that.
func upgrade(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := ""
	for b := make([]byte, 1); !strings.HasSuffix(answer, "\r\n\r\n"); answer += string(b) {
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatalf("%v, behind %q", err, answer)
		}
	}
	if !strings.HasPrefix(answer, "HTTP/1.1 101 ") {
		t.Fatalf("answered is %q", answer)
	}
}

// The old address is free again as soon as the admin interface has moved, whatever still drains.
func TestTheAdminInterfaceMovesBackDuringADrain(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		dir := t.TempDir()
		at := func(name string) string { return "[admin]\nlisten = \"unix:" + dir + "/" + name + "\"\n" + long }
		stock, queue := text("stock", "tcp", "127.0.0.1:0", echo(t)), text("queue", "tcp", "127.0.0.1:0", echo(t))
		r := runPatient(t, at("a")+stock+queue)
		session := r.dial(t, 1)
		talk(t, session)
		r.reload(t, at("b")+stock)
		until(t, "the old address does not answer", func() bool {
			return (&admin.Client{Address: "unix:" + dir + "/a"}).Healthy(t.Context()) != nil
		})
		talk(t, session)
		r.reload(t, at("a")+stock)
		if err := (&admin.Client{Address: "unix:" + dir + "/a"}).Healthy(t.Context()); err != nil {
			t.Error(err)
		}
		session.Close()
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// What is asked for during a drain is not told to systemd, which would take the process for one that serves.
func TestSystemdHearsNothingBehindAStop(t *testing.T) {
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
	r := runReloading(t, adminOff+long+text("queue", "tcp", "127.0.0.1:0", echo(t)))
	session := r.dial(t, 0)
	talk(t, session)
	r.stop()
	for !strings.HasPrefix(hear(), "STOPPING=1") {
	}
	if _, err := r.Reload(t.Context()); !errors.Is(err, errStopping) {
		t.Errorf("told is %v", err)
	}
	session.Close()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	last, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if _, err := io.WriteString(last, "that is all"); err != nil {
		t.Fatal(err)
	}
	if s := hear(); s != "that is all" {
		t.Errorf("heard %q", s)
	}
}
