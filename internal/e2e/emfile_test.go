package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecar/upstream"
)

// descriptors is how many a sidecar of these tests may have; some twenty it needs for itself.
const descriptors = 100

// underLimit has a command run with no more than so many descriptors.
func underLimit(cmd *exec.Cmd, n int) {
	underShell(cmd, fmt.Sprintf("ulimit -n %d", n))
}

// underShell has a shell prepare what becomes the command.
func underShell(cmd *exec.Cmd, prepare string) {
	cmd.Args = append([]string{"/bin/sh", "-c", prepare + ` && exec "$0" "$@"`}, cmd.Args...)
	cmd.Path = "/bin/sh"
}

// scarce starts a sidecar that has few descriptors.
func scarce(t *testing.T, config string) *sidecar {
	t.Helper()
	cmd, address := prepare(t, config)
	underLimit(cmd, descriptors)
	s := startCommand(t, cmd, address)
	s.waitReady()
	return s
}

// idlers are clients that connect, as many as there are descriptors, and ask for nothing.
func idlers(t *testing.T, s *sidecar) []*wire {
	t.Helper()
	var all []*wire
	for range descriptors {
		all = append(all, connect(t, s.address("orders")))
	}
	within(t, patience, "accepting pauses", func() bool { return sum(metrics(t, s), "sidecar_listener_accept_paused") > 0 })
	return all
}

func TestWhoIsThereGoesOnWhenDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	s := scarce(t, static("orders", "", o.address))
	load := startPaced(t, s.address("orders"), 8, 5*time.Millisecond)
	load.more(t, 100)
	waiting := idlers(t, s)
	load.more(t, 500)

	// Who accepts in vain again and again takes a hundred thousand turns in a second.
	const most = 500
	load.end(t)
	before, began := sum(metrics(t, s), "sidecar_loop_turns_total"), time.Now()
	linger(t.Context(), 2*time.Second)
	turns := sum(metrics(t, s), "sidecar_loop_turns_total") - before
	if rate := turns / time.Since(began).Seconds(); rate > most {
		t.Errorf("%.0f turns of the loops per second with nothing to do, want at most %d", rate, most)
	} else {
		t.Logf("%.0f turns of the loops per second with nothing to do", rate)
	}

	// Eight clients have gone, so there is room for some. Each that is served makes room for another.
	began = time.Now()
	for i, w := range waiting {
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
			t.Fatalf("client %d, after %v: %+v, %v", i, time.Since(began), a, err)
		}
		w.Close()
	}
	t.Logf("%d clients were served within %v", len(waiting), time.Since(began).Round(time.Millisecond))
	within(t, patience, "nothing pauses any more", func() bool { return sum(metrics(t, s), "sidecar_listener_accept_paused") == 0 })
	if n := sum(metrics(t, s), "sidecar_listener_accept_errors_total"); n < 2 {
		t.Errorf("%v failures to accept are counted", n)
	}
	if n := sum(metrics(t, s), "sidecar_http_errors_total"); n != 0 {
		t.Errorf("%v requests failed", n)
	}
	log := s.err.String()
	if n := strings.Count(log, "accepting pauses"); n != 1 {
		t.Errorf("%d lines say that accepting pauses, want one", n)
	}
	if missing := lacking(log, []string{fmt.Sprintf(`"limit":%d,"open":`, descriptors), "raise LimitNOFILE"}); missing != "" {
		t.Errorf("the log lacks %q", missing)
	}
	if strings.Contains(log, "accept unix") {
		t.Error("the admin interface could not accept")
	}
}

// Each session takes two descriptors. Those that are there go on; who comes later waits for the first,
// and is told at once in the seldom case that the second is missing then.
func TestSessionsGoOnWhenDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	echo := serveStream(t)
	s := scarce(t, static("orders", `protocol = "tcp"`, echo.address))
	const text = "is anybody there?"
	var all []*wire
	for i := range descriptors {
		w := connect(t, s.address("orders"))
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
		within(t, patience, "it has got through, or nobody does", func() bool {
			return echo.open() > i || sum(metrics(t, s), "sidecar_listener_accept_paused") > 0
		})
	}
	served := echo.open()
	t.Logf("%d of %d sessions", served, len(all))
	if served < descriptors/4 || served > descriptors/2 {
		t.Fatalf("%d sessions with %d descriptors", served, descriptors)
	}
	reset := 0
	for i, w := range all {
		b := make([]byte, len(text))
		if _, err := io.ReadFull(w.r, b); err != nil && (i < served || !errors.Is(err, syscall.ECONNRESET)) || err == nil && string(b) != text {
			t.Fatalf("session %d: %q, %v", i, b, err)
		} else if err != nil {
			reset++
		}
		w.Close()
	}
	t.Logf("%d were reset", reset)
	// Those that were served count as ended by their clients, which they were.
	causes := map[string]float64{"overload": float64(reset), "client-gone": float64(len(all) - reset)}
	within(t, patience, "those that were reset are counted", func() bool { return failedSessions(t, s)["overload"] == causes["overload"] })
	for cause, n := range failedSessions(t, s) {
		if n > causes[cause] {
			t.Errorf("%v sessions have failed because of %s", n, cause)
		}
	}
	if e := s.endpoint("orders", echo.address); blamed(e) {
		t.Errorf("it is blamed: %+v", e)
	}
	if got := connect(t, s.address("orders")).exchange(t, text); got != text {
		t.Errorf("afterwards: %q", got)
	}
}

// failedSessions are the sessions that have failed, by cause.
func failedSessions(t *testing.T, s *sidecar) map[string]float64 {
	t.Helper()
	counted := map[string]float64{}
	for _, m := range metrics(t, s)["sidecar_tcp_sessions_failed_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "cause" {
				counted[l.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	return counted
}

// Whose connection to an endpoint cannot be made for want of a descriptor is told so; the endpoint has
// nothing to do with it.
func TestAnEndpointIsNotBlamedForWantOfDescriptors(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	s := scarce(t, static("orders", "retry.attempts = 0", o.address))
	served := idlers(t, s)[:2*descriptors/5] // of whom there are more, for certain
	for i, w := range served {
		if err := w.send("/wait"); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
	}
	overload := func() float64 { return sum(metrics(t, s), "sidecar_http_errors_total") }
	within(t, patience, "all have got as far as they get", func() bool { return int(o.served.Load())+int(overload()) == len(served) })
	t.Logf("%d of %d requests have reached the endpoint", o.served.Load(), len(served))
	if o.served.Load() == 0 || overload() == 0 {
		t.Fatalf("%d have reached it, %v have not", o.served.Load(), overload())
	}
	close(o.hold)
	for i, w := range served {
		a, err := w.receive()
		if err != nil || a.status != http.StatusOK && a.header.Get("Sidecar-Error") != "overload" {
			t.Errorf("client %d: %+v, %v", i, a, err)
		}
	}
	e := s.endpoint("orders", o.address)
	if blamed(e) {
		t.Errorf("it is blamed: %+v", e)
	}
	// The connections that there are may be another loop's, which gives them up when it is asked.
	for i, w := range served {
		within(t, patience, fmt.Sprintf("client %d is served", i), func() bool {
			a, err := w.get("/")
			return err == nil && a.status == http.StatusOK
		})
	}
}

// blamed tells whether an endpoint has failures on its account.
func blamed(e upstream.EndpointStatus) bool {
	c := e.Counters
	return c.ConnectFailures+c.Resets+c.Timeouts+c.ServerErrors+c.Ejections > 0 || !e.Used
}

// A namespace has few ports; in it are a sidecar with a unix socket and origins.
func TestPortsRunOut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ip", "nsenter", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("NOT TESTED, ports that run out: a network namespace is needed, and to make one takes %s", name)
		}
	}
	const few = "ip link set lo up && echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range"
	if out, err := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", few).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED, ports that run out: a network namespace is needed, and to make one takes root with CAP_SYS_ADMIN: %s", out)
	}
	const ports, first, second = 4, "127.0.0.1:9001", "127.0.0.1:9002"
	socket := folder(t) + "/orders"
	cmd, address := prepare(t, strings.Replace(static("orders", "", first, second), "127.0.0.1:0", "unix:"+socket, 1))
	underShell(cmd, few)
	cmd.Args = append([]string{"unshare", "--net"}, cmd.Args...)
	var err error
	if cmd.Path, err = exec.LookPath("unshare"); err != nil {
		t.Fatal(err)
	}
	s := startCommand(t, cmd, address)
	inside := []string{"--net", "--target", fmt.Sprint(s.cmd.Process.Pid)}
	for _, at := range []string{first, second} {
		spawn(t, exec.Command("nsenter", append(inside, os.Args[0])...), at, latencyVariable+"=3s")
	}
	s.waitReady()
	ask := func() *wire {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		w := &wire{c, bufio.NewReader(c)}
		if err := w.send("/"); err != nil {
			t.Fatal(err)
		}
		return w
	}
	// Each endpoint can be reached from every port: twice as many requests are under way.
	var all []*wire
	for range 2 * ports {
		all = append(all, ask())
	}
	within(t, patience, "all are on their way", func() bool { return sum(metrics(t, s), "sidecar_service_connections") == 2*ports })
	a, err := ask().receive()
	if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Sidecar-Error") != "overload" || !strings.Contains(a.body, "no port left") {
		t.Errorf("one more: %+v, %v", a, err)
	}
	for i, w := range all {
		if a, err := w.receive(); err != nil || a.status != http.StatusOK {
			t.Errorf("client %d: %+v, %v", i, a, err)
		}
	}
	for _, at := range []string{first, second} {
		if e := s.endpoint("orders", at); blamed(e) {
			t.Errorf("it is blamed: %+v", e)
		}
	}
}
