package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/healthcheck"
)

// A stage is a running service with a source and health checks that the test plays. Its
// verbs let the service take in what they did before they return. It lives in a bubble,
// which does not end before all goroutines of the service have.
type stage struct {
	t *testing.T
	*Service
	source *script
	health *pulse
	logs   *observer.ObservedLogs
	events []string
	stop   context.CancelFunc
}

// play runs f on a stage.
func play(t *testing.T, change func(*Options), f func(*stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		st := &stage{t: t, source: &script{}, health: newPulse(), logs: logs}
		o := Options{
			Name:   "orders",
			Source: st.source,
			Policy: inTurn,
			Breaker: breaker.Settings{
				ConsecutiveFailures: 3,
				Open:                time.Second,
				OpenMax:             8 * time.Second,
			},
			MaxEjected: 0.5,
			Log:        zap.New(core),
		}
		if change != nil {
			change(&o)
		}
		if o.HealthCheck != nil {
			o.HealthCheck.Prober = st.health
		}
		st.Service = New(o)
		st.OnEvent(func(e Event) {
			st.events = append(st.events, fmt.Sprintf("%s %v", e.Endpoint.ID(), e.Kind))
		})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			st.Run(ctx)
		}()
		synctest.Wait()
		st.stop = func() {
			cancel()
			<-ended
		}
		defer st.stop()
		f(st)
	})
}

// inTurn is a policy that takes the first endpoint that is not to be avoided, beginning
// with the one that the key names.
func inTurn(c Candidates) Picker { return inTurnPicker(c.Endpoints) }

type inTurnPicker []*Endpoint

func (p inTurnPicker) Pick(key PickKey, avoid []*Endpoint) *Endpoint {
	for i := range p {
		if e := p[(int(key.Hash)+i)%len(p)]; !contains(avoid, e) {
			return e
		}
	}
	return nil
}

// A script is a source that reports what the test says.
type script struct {
	mu     sync.Mutex
	report func(discovery.Update)
}

func (s *script) Watch(ctx context.Context, report func(discovery.Update)) {
	s.mu.Lock()
	s.report = report
	s.mu.Unlock()
	<-ctx.Done()
}

// update has the source report u.
func (st *stage) update(u discovery.Update) {
	st.t.Helper()
	if u.At.IsZero() {
		u.At = time.Now()
	}
	st.source.mu.Lock()
	st.source.report(u)
	st.source.mu.Unlock()
	synctest.Wait()
}

// reports has the source report instances, each as "id", "id weight" or "id weight address".
func (st *stage) reports(instances ...string) {
	st.t.Helper()
	st.update(discovery.Update{Instances: instancesOf(instances...)})
}

func instancesOf(texts ...string) []discovery.Instance {
	var instances []discovery.Instance
	for _, text := range texts {
		in := discovery.Instance{Weight: 1}
		_, _ = fmt.Sscan(text, &in.ID, &in.Weight, &in.Address)
		if in.Address == "" {
			in.Address = "10.0.0." + fmt.Sprint(int(in.ID[0]-'a')+1) + ":80"
		}
		instances = append(instances, in)
	}
	return instances
}

// fails has the source report an error.
func (st *stage) fails(text string) {
	st.t.Helper()
	st.update(discovery.Update{Err: errors.New(text)})
}

func (st *stage) endpoint(id string) *Endpoint {
	st.t.Helper()
	for _, e := range st.Snapshot().Endpoints {
		if e.ID() == id {
			return e
		}
	}
	st.t.Fatalf("no endpoint %s", id)
	return nil
}

func ids(endpoints []*Endpoint) string {
	var names []string
	for _, e := range endpoints {
		names = append(names, e.ID())
	}
	return strings.Join(names, " ")
}

func (st *stage) wantUsable(want string) {
	st.t.Helper()
	synctest.Wait()
	if got := ids(st.Snapshot().Usable); got != want {
		st.t.Fatalf("usable are %q, want %q", got, want)
	}
}

func (st *stage) wantEvents(want ...string) {
	st.t.Helper()
	synctest.Wait()
	if got := strings.Join(st.events, ", "); got != strings.Join(want, ", ") {
		st.t.Fatalf("events %q, want %q", got, strings.Join(want, ", "))
	}
	st.events = nil
}

// on returns a lease on the usable endpoint id.
func (st *stage) on(id string) Lease {
	st.t.Helper()
	for i, e := range st.Snapshot().Usable {
		if e.ID() == id {
			l, err := st.Acquire(PickKey{Hash: uint64(i)})
			if err != nil {
				st.t.Fatal(err)
			}
			if l.Endpoint() != e {
				st.t.Fatalf("got a lease on %s, want %s", l.Endpoint().ID(), id)
			}
			return l
		}
	}
	st.t.Fatalf("%s is not usable", id)
	return Lease{}
}

// attempt has requests to id end with outcome, n times.
func (st *stage) attempt(id string, outcome Outcome, n int) {
	st.t.Helper()
	for range n {
		l := st.on(id)
		l.Report(Result{Outcome: outcome, Latency: time.Millisecond})
		l.Release()
	}
	synctest.Wait()
}

// report has one request to id end with r.
func (st *stage) report(id string, r Result) {
	st.t.Helper()
	l := st.on(id)
	l.Report(r)
	l.Release()
	synctest.Wait()
}

// acquires returns a lease on whatever the service gives to a request that may be repeated,
// and says on what.
func (st *stage) acquires(want string, avoid ...*Endpoint) *Lease {
	st.t.Helper()
	l, err := st.Acquire(PickKey{Repeatable: true}, avoid...)
	if err != nil {
		st.t.Fatal(err)
	}
	if got := l.Endpoint().ID(); got != want {
		st.t.Fatalf("got a lease on %s, want %s", got, want)
	}
	return &l
}

func (st *stage) refuses(want *Unavailable, texts ...string) {
	st.t.Helper()
	_, err := st.Acquire(PickKey{})
	wantUnavailable(st.t, err, want, texts...)
}

func wantUnavailable(t *testing.T, err error, want *Unavailable, texts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	for _, text := range append(texts, "orders") {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// status returns the status of one endpoint.
func (st *stage) status(id string) EndpointStatus {
	st.t.Helper()
	for _, e := range st.Status().Endpoints {
		if e.ID == id {
			return e
		}
	}
	st.t.Fatalf("no endpoint %s in the status", id)
	return EndpointStatus{}
}

// stands wants endpoint id in a state, for a reason that contains why.
func (st *stage) stands(id string, state State, why string) {
	st.t.Helper()
	synctest.Wait()
	e := st.status(id)
	if e.State != state || !strings.Contains(e.Why, why) {
		st.t.Fatalf("%s is %s because %q, want %s because %q", id, e.State, e.Why, state, why)
	}
}

// whats returns the decisions of a history in short.
func whats(history []Decision) string {
	var words []string
	for _, d := range history {
		words = append(words, d.What)
	}
	return strings.Join(words, ", ")
}

func (st *stage) logged(message string) int {
	return st.logs.FilterMessage(message).Len()
}

// A pulse is a prober whose patients are ill as the test says.
type pulse struct {
	mu     sync.Mutex
	ill    map[string]error // by address
	probed map[string]int
}

func newPulse() *pulse {
	return &pulse{ill: make(map[string]error), probed: make(map[string]int)}
}

func (p *pulse) Probe(_ context.Context, address string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probed[address]++
	return p.ill[address]
}

var checked = healthcheck.Settings{Interval: time.Second, Timeout: time.Second, Rise: 2, Fall: 2}

// ails makes addresses ill, or well with a nil error.
func (st *stage) ails(err error, addresses ...string) {
	st.health.mu.Lock()
	defer st.health.mu.Unlock()
	for _, address := range addresses {
		st.health.ill[address] = err
	}
}

// falls makes endpoints ill, or well with a nil error, and lets the checks notice.
func (st *stage) falls(err error, endpointIDs ...string) {
	st.t.Helper()
	for _, id := range endpointIDs {
		st.ails(err, st.endpoint(id).Address())
	}
	time.Sleep(3 * time.Second)
	synctest.Wait()
}
