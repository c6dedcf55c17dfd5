package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// A grpcLoad makes unary calls on one connection without a pause, and counts.
type grpcLoad struct {
	conn    *grpc.ClientConn
	ctx     context.Context
	left    atomic.Int64 // how many more may be made
	callers sync.WaitGroup

	mu       sync.Mutex
	by       map[string]int // server: answers
	answers  int
	failures []error
}

// startCalls lets callers loose until n calls are made, or stop is called.
func startCalls(ctx context.Context, t *testing.T, c *grpc.ClientConn, callers, n int) *grpcLoad {
	l := &grpcLoad{conn: c, ctx: ctx, by: map[string]int{}}
	l.left.Store(int64(n))
	for range callers {
		l.callers.Go(l.call)
	}
	t.Cleanup(l.stop)
	return l
}

func (l *grpcLoad) call() {
	for l.left.Add(-1) >= 0 {
		origin, err := echo(l.ctx, l.conn, "x")
		l.mu.Lock()
		if err != nil {
			l.failures = append(l.failures, err)
		} else {
			l.by[origin]++
			l.answers++
		}
		l.mu.Unlock()
	}
}

// stop ends it; calls under way are waited for.
func (l *grpcLoad) stop() {
	l.left.Store(0)
	l.callers.Wait()
}

// total is how many answers there were so far.
func (l *grpcLoad) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers
}

// from is how many of them came from a server.
func (l *grpcLoad) from(origin string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[origin]
}

// more waits for n further answers.
func (l *grpcLoad) more(t *testing.T, n int) {
	t.Helper()
	want := l.total() + n
	within(t, patience, fmt.Sprintf("%d further answers", n), func() bool { return l.total() >= want })
}

// end waits until all calls are made, and fails the test if one failed.
func (l *grpcLoad) end(t *testing.T) {
	t.Helper()
	l.callers.Wait()
	t.Logf("%d answers: %v", l.answers, l.by)
	if n := len(l.failures); n > 0 {
		t.Errorf("%d of %d calls failed, such as: %v", n, n+l.answers, l.failures[0])
	}
}

// endless is more calls than a test ever makes.
const endless = 1 << 40

// keyed is the context of calls that may be made twice.
func keyed(t *testing.T) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "0123")
}

// Each call is balanced for itself, though all come on one connection.
func TestGRPCCallsOfOneConnectionSpread(t *testing.T) {
	t.Parallel()
	const calls = 10_000
	servers, at := serveGRPCs(t, "calls-1", "calls-2", "calls-3")
	s := serving(t, static("calls", `balancer.policy = "round_robin"`, at...))
	l := startCalls(t.Context(), t, dialGRPC(t, s.address("calls")), 32, calls)
	l.end(t)
	for _, g := range servers {
		n := float64(l.by[g.name])
		if fair := calls / 3.; n < 0.95*fair || n > 1.05*fair {
			t.Errorf("%s has answered %v calls, want %.0f within 5 %%", g.name, n, fair)
		}
		if g.served.Load() != int64(n) {
			t.Errorf("%s has had %d calls and answered %v", g.name, g.served.Load(), n)
		}
	}
	if n := s.document().Listeners[0].Accepted; n != 1 {
		t.Errorf("%d connections were accepted, want one", n)
	}
	if ok := grpcResponses(t, s)["0"]; ok != calls {
		t.Errorf("%v calls are counted with status 0", ok)
	}
}

// A server that is killed fails no call that may be made twice.
func TestGRPCAServerIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	servers, at := serveGRPCs(t, "calls-1", "calls-2", "calls-3")
	s := serving(t, static("calls", `balancer.policy = "round_robin"`, at...))
	l := startCalls(keyed(t), t, dialGRPC(t, s.address("calls")), 32, endless)
	for _, victim := range servers {
		l.more(t, 500)
		victim.die()
		l.more(t, 500)
		before := l.from(victim.name)
		victim.listen(t, victim.address)
		within(t, 2*patience, "the server that came back is in use", func() bool { return l.from(victim.name) > before })
	}
	l.stop()
	l.end(t)
}

// A server that is restarted as it should says GOAWAY, ends what it has begun, and what it has
// not begun goes to another one: that costs nothing, whatever the calls are.
func TestGRPCServersRestartUnderLoad(t *testing.T) {
	t.Parallel()
	servers, at := serveGRPCs(t, "calls-1", "calls-2", "calls-3")
	s := serving(t, static("calls", `balancer.policy = "round_robin"`, at...))
	l := startCalls(t.Context(), t, dialGRPC(t, s.address("calls")), 32, endless)
	for _, g := range servers {
		l.more(t, 500)
		g.leave()
		l.more(t, 500)
		before := l.from(g.name)
		g.listen(t, g.address)
		within(t, 2*patience, "the server that came back is in use", func() bool { return l.from(g.name) > before })
	}
	l.stop()
	l.end(t)
}

// A GOAWAY leaves the streams that are open to their end.
func TestGRPCAStreamOutlivesTheGOAWAYOfItsServer(t *testing.T) {
	t.Parallel()
	g, _, c := grpcCalls(t, "")
	talk := open(lasting(t), t, c, methodTalk)
	talk.say("before")
	talk.wantHear("before")
	var left sync.WaitGroup
	left.Go(g.leave)
	within(t, patience, "the server takes no more", func() bool {
		_, err := echo(t.Context(), c, "x")
		return err != nil
	})
	for i := range 10 {
		talk.say(fmt.Sprint("after ", i))
		talk.wantHear(fmt.Sprint("after ", i))
	}
	if err := talk.CloseSend(); err != nil {
		t.Fatal(err)
	}
	talk.wantEnd()
	left.Wait()
}
