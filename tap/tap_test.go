package tap

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/accesslog"
)

// request is one that has ended with a status, tried on these endpoints.
func request(status int, endpoints ...string) *accesslog.Record {
	line := &accesslog.Record{
		Service: "orders", Client: netip.MustParseAddrPort("10.1.2.3:4567"), Protocol: accesslog.HTTP11,
		Method: []byte("GET"), Target: []byte("/a?token=x"), Host: []byte("orders"), Status: status, Flag: accesslog.FlagOK,
		Duration: 20 * time.Millisecond, FirstByte: 10 * time.Millisecond, BytesIn: 5, BytesOut: 7, Attempts: new(accesslog.Attempts),
	}
	for _, e := range endpoints {
		line.Attempts.Add(accesslog.Attempt{Endpoint: e, Outcome: accesslog.OutcomeOK, Status: status, Duration: time.Millisecond})
	}
	return line
}

// watch watches until the test ends.
func watch(t *testing.T, p *Point, o Options) *Watch {
	t.Helper()
	w, err := p.Watch(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// waitingIn are the records that wait.
func waitingIn(w *Watch) (all []*Record) {
	for {
		select {
		case r := <-w.Records():
			all = append(all, r)
		default:
			return all
		}
	}
}

func TestARecordSaysWhatHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Point)
		w := watch(t, p, Options{})
		line := request(200, "10.0.0.1:80", "10.0.0.2:80")
		p.Pass(line, Heads{Request: []byte("A: b\n")})
		copy(line.Target, "/used-again") // the caller's memory is its own again
		got := waitingIn(w)
		want := &Record{
			Time: time.Now().Add(-20 * time.Millisecond), Service: "orders", Client: "10.1.2.3:4567", Protocol: "HTTP/1.1",
			Method: "GET", Target: "/a?token=x", Host: "orders", Status: 200, Endpoint: "10.0.0.2:80", Tries: 2,
			Attempts:    []Attempt{{"10.0.0.1:80", "ok", 200, 0.001}, {"10.0.0.2:80", "ok", 200, 0.001}},
			TookSeconds: 0.02, FirstByteSeconds: 0.01, BytesIn: 5, BytesOut: 7, Flag: "ok",
		}
		if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("\n got %+v\nwant %+v", got, want)
		}
		got[0].WithoutQuery()
		if got[0].Target != "/a?…" {
			t.Errorf("without its query it is %q", got[0].Target)
		}
	})
}

func TestTheRateIsKeptEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(Point)
		w := watch(t, p, Options{Rate: 10})
		began := time.Now()
		var at []time.Duration
		var skipped uint64
		for range 3000 { // for three seconds
			p.Pass(request(200), Heads{})
			for _, r := range waitingIn(w) {
				at = append(at, time.Since(began))
				skipped += r.Skipped
			}
			time.Sleep(time.Millisecond)
		}
		// A second's worth at once, and then one each tenth of a second, from the first on.
		if len(at) < 39 || len(at) > 40 {
			t.Fatalf("%d records: %v", len(at), at)
		}
		for i, d := range at[10:] {
			if want := time.Duration(i+1) * 100 * time.Millisecond; d < want || d > want+10*time.Millisecond {
				t.Errorf("record %d at %v, want %v", i+10, d, want)
			}
		}
		if last := uint64(3000 - len(at)); skipped > last || skipped < last-100 {
			t.Errorf("%d are said to be skipped, of %d", skipped, last)
		}
		time.Sleep(time.Hour)
		for range 100 {
			p.Pass(request(200), Heads{})
		}
		if n := len(waitingIn(w)); n != 10 {
			t.Errorf("%d at once after a pause, want 10", n)
		}
	})
}

func TestFilters(t *testing.T) {
	for _, tt := range []struct {
		status, endpoint string
		want             string
	}{
		{"", "", "0 200 204 404 503"},
		{"5xx", "", "503"},
		{"404", "", "404"},
		{"2XX, 404", "", "200 204 404"},
		{"none", "", "0"},
		{"none,5xx", "", "0 503"},
		{"", "b", "204 503"},
		{"2xx", "b", "204"},
		{"", "c", ""},
	} {
		status, err := ParseStatus(tt.status)
		if err != nil {
			t.Fatal(err)
		}
		p := new(Point)
		w := watch(t, p, Options{Status: status, Endpoint: tt.endpoint, Rate: MostRate})
		for _, line := range []*accesslog.Record{request(0), request(200, "a"), request(204, "b"), request(404, "a"), request(503, "b", "a")} {
			p.Pass(line, Heads{})
		}
		var got []string
		for _, r := range waitingIn(w) {
			got = append(got, fmt.Sprint(r.Status))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("status %q, endpoint %q: %v, want %s", tt.status, tt.endpoint, got, tt.want)
		}
	}
	for _, wrong := range []string{"6xx", "0xx", "xx", "20", "600", "abc", "5xx,", "-200"} {
		if _, err := ParseStatus(wrong); err == nil || !strings.Contains(err.Error(), "want a code") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestHeaderFields(t *testing.T) {
	heads := Heads{
		Request:  []byte("Host: orders\nauthorization: Bearer geheim\nCookie: a=1\nX-Long: " + strings.Repeat("x", 2*mostValue) + "\nProxy-Authorization: z\nEmpty:\n"),
		Response: []byte("Set-Cookie: a=1\nContent-Type: text/plain\n"),
	}
	for h, want := range map[Headers]string{
		HeadersNone:  "",
		HeadersPlain: "Host=orders authorization=<hidden> Cookie=<hidden> X-Long=… Proxy-Authorization=<hidden> Empty= | Set-Cookie=<hidden> Content-Type=text/plain",
		HeadersAll:   "Host=orders authorization=Bearer geheim Cookie=a=1 X-Long=… Proxy-Authorization=z Empty= | Set-Cookie=a=1 Content-Type=text/plain",
	} {
		p := new(Point)
		w := watch(t, p, Options{Headers: h})
		if p.Headers() != (h != HeadersNone) {
			t.Errorf("%d: Headers is %v", h, p.Headers())
		}
		p.Pass(request(200), heads)
		var got []string
		r := waitingIn(w)[0]
		for i, list := range [][]Field{r.RequestHeaders, r.ResponseHeaders} {
			if i == 1 && len(list) > 0 {
				got = append(got, "|")
			}
			for _, f := range list {
				if f.Name == "X-Long" && len(f.Value) == mostValue+len("…") {
					f.Value = "…"
				}
				got = append(got, f.Name+"="+f.Value)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%d:\n got %s\nwant %s", h, strings.Join(got, " "), want)
		}
	}
	many := fields([]byte(strings.Repeat("a: b\n", 1000)), HeadersAll)
	if len(many) != mostFields+1 || many[mostFields].Value != "and more" {
		t.Errorf("%d fields of a thousand", len(many))
	}
}

func TestASlowReaderHoldsNothingUp(t *testing.T) {
	p := new(Point)
	w := watch(t, p, Options{Rate: MostRate})
	const all = waiting + 50
	for range all {
		p.Pass(request(200), Heads{})
	}
	if w.Missed() != 50 {
		t.Errorf("%d missed, want 50", w.Missed())
	}
	if n := len(waitingIn(w)); n != waiting {
		t.Errorf("%d wait, want %d", n, waiting)
	}
	p.Pass(request(200), Heads{})
	if r := waitingIn(w); len(r) != 1 || r[0].Skipped != 50 {
		t.Errorf("the next says nothing of those: %+v", r)
	}
}

func TestWatchingEnds(t *testing.T) {
	p := new(Point)
	var all []*Watch
	for range mostWatches {
		all = append(all, watch(t, p, Options{}))
	}
	if _, err := p.Watch(Options{}); err != ErrCrowded { //nolint:errorlint // the sentinel itself is returned
		t.Errorf("one more: %v", err)
	}
	all[1].Close()
	all[1].Close()
	<-all[1].Done()
	all[1] = watch(t, p, Options{})
	for _, w := range all {
		select {
		case <-w.Done():
			t.Error("has ended although nobody has closed it")
		default:
		}
	}
	p.Close()
	for _, w := range all {
		<-w.Done()
		w.Close()
	}
	if p.Watched() {
		t.Error("is watched although it is closed")
	}
	if _, err := p.Watch(Options{}); err != ErrClosed { //nolint:errorlint // the sentinel itself is returned
		t.Errorf("after the end: %v", err)
	}
}

func TestNobodyWatchesAndNothingIsDone(t *testing.T) {
	var none *Point
	if none.Watched() || none.Headers() {
		t.Error("a nil Point is watched")
	}
	none.Pass(request(200), Heads{})
	p, line := new(Point), request(200, "a")
	if n := testing.AllocsPerRun(100, func() {
		if p.Watched() || p.Headers() {
			t.Error("is watched")
		}
		p.Pass(line, Heads{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	w := watch(t, p, Options{})
	if !p.Watched() {
		t.Error("is not watched")
	}
	w.Close()
	if p.Watched() {
		t.Error("is still watched")
	}
}

// For the race detector: loops pass while watching begins and ends.
func TestManyAtOnce(t *testing.T) {
	p := new(Point)
	var loops, readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		loops.Go(func() {
			line := request(200, "a")
			for {
				select {
				case <-stop:
					return
				default:
					p.Pass(line, Heads{Request: []byte("A: b\n")})
				}
			}
		})
	}
	for range mostWatches {
		readers.Go(func() {
			for range 100 {
				w, err := p.Watch(Options{Rate: MostRate, Headers: HeadersAll})
				if err != nil {
					t.Error(err)
					return
				}
				r := <-w.Records()
				if r.Service != "orders" || r.RequestHeaders[0].Value != "b" {
					t.Errorf("got %+v", r)
				}
				w.Close()
			}
		})
	}
	readers.Wait()
	close(stop)
	loops.Wait()
}
