package daemon

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"sidecar/upstream"
)

// standing is the state of the endpoint at an address, of the first service; empty: there is none.
func (r *reloading) standing(address string) upstream.State {
	for _, e := range r.state.Load().services[0].upstream.Status().Endpoints {
		if e.Address == address {
			return e.State
		}
	}
	return ""
}

// What an operator has drained stays so, until the operator says otherwise: also where everything else
// that is known of it goes.
func TestADrainedInstanceStaysDrained(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		a, b := says(t, "a").address, says(t, "b").address
		orders := func(protocol, instances, more string) string {
			return adminOff + short + fmt.Sprintf("[[service]]\nname = \"orders\"\nprotocol = %q\nlisten = \"127.0.0.1:0\"\n%s\n", protocol, more) +
				"discovery = { source = \"static\", instances = [" + instances + "] }\n"
		}
		both, other := fmt.Sprintf("%q, %q", a, b), fmt.Sprintf("%q", b)
		r := runPatient(t, orders("tcp", both, ""))
		var id string
		for _, e := range r.state.Load().services[0].upstream.Snapshot().Endpoints {
			if e.Address() == a {
				id = e.ID()
			}
		}
		if err := r.operate("orders", id, "drain"); err != nil {
			t.Fatal(err)
		}
		until(t, "it is drained", func() bool { return r.standing(a) == upstream.StateDrained })
		for _, step := range []struct {
			config string
			a      upstream.State
		}{
			{orders("tcp", both, "breaker = { consecutive_failures = 7 }"), upstream.StateDrained},
			{orders("tcp", other, ""), ""}, // the registry lists it again in a moment
			{orders("tcp", both, ""), upstream.StateDrained},
			{orders("http", both, ""), upstream.StateDrained},
		} {
			before := r.state.Load().services[0].upstream
			r.reload(t, step.config)
			if r.state.Load().services[0].upstream == before {
				t.Fatal("nothing was made anew")
			}
			if got := r.standing(a); got != step.a {
				t.Errorf("it is %q, want %q, after a reload to\n%s", got, step.a, step.config)
			}
			if got := r.standing(b); got != upstream.StateUsable {
				t.Errorf("the other one is %q", got)
			}
		}
		if err := r.operate("orders", id, "undrain"); err != nil {
			t.Fatal(err)
		}
		until(t, "it is usable", func() bool { return r.standing(a) == upstream.StateUsable })
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// An instance that is down stays so behind a reload, until a health check has found otherwise.
func TestAnInstanceThatIsDownGetsNothingBehindAReload(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		p, good := filepath.Join(t.TempDir(), "p"), says(t, "good")
		var requests atomic.Int64
		var hold atomic.Bool // health checks get no answer
		sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case q.URL.Path != "/health":
				requests.Add(1)
				io.WriteString(w, "sick")
			case hold.Load():
				<-q.Context().Done()
			default:
				w.WriteHeader(http.StatusInternalServerError)
			}
		}))
		t.Cleanup(sick.Close)
		address := sick.Listener.Addr().String()
		orders := func(more string) string {
			return adminOff + short + fmt.Sprintf("[[service]]\nname = \"orders\"\nprotocol = \"http\"\nlisten = %q\n%s\n", "unix:"+p, more) +
				"health_check = { type = \"http\", path = \"/health\", interval = \"2s\", timeout = \"2s\" }\n" +
				fmt.Sprintf("discovery = { source = \"static\", instances = [%q, %q] }\n", good.address, address)
		}
		r := runPatient(t, orders(""))
		until(t, "it is down", func() bool { return r.standing(address) == upstream.StateDown })
		hold.Store(true)
		before := requests.Load()
		for _, more := range []string{"breaker = { consecutive_failures = 7 }", "retry = { budget = 0.3 }"} {
			was := r.state.Load().services[0].upstream
			r.reload(t, orders(more))
			if r.state.Load().services[0].upstream == was {
				t.Fatal("nothing was made anew")
			}
			if got := r.standing(address); got != upstream.StateDown {
				t.Errorf("it is %q behind a reload", got)
			}
			for range 20 {
				want(t, p, "good")
			}
		}
		if n := requests.Load() - before; n > 0 {
			t.Errorf("it has got %d requests", n)
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}
