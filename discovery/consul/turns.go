package consul

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultConnections is how many queries are under way at once without HTTP/2: half of what
	// agents allow per address, which others on this host have a right to as well.
	DefaultConnections = 100
	// spareConnections are for what is no query: the patrol's questions and Call.
	spareConnections = 8
	// firstConnections are as many as are opened by TLS before it is known whether HTTP/2 is spoken.
	firstConnections = 16
	// round is in what time all watches have had their turn when there are more of them than
	// connections: changes arrive so much later at the most.
	round = 5 * time.Second
	// shortestTurn is the least that a query waits at the agent, so that very many watches take
	// longer to come round rather than ask all the time.
	shortestTurn = 250 * time.Millisecond
)

// turns bound how many queries are under way at once. A query that is answered at once goes
// before those that would wait for a change; within a kind it is first come, first served.
type turns struct {
	mu      sync.Mutex
	limit   int // 0: no bound
	watches int
	running map[*turn]struct{}
	waiting int        // of running: patient
	queue   [2][]*turn // of kind urgent and patient
}

const (
	urgent  = iota // answered at once
	patient        // waits at the agent for a change
)

// A turn is the right to ask.
type turn struct {
	kind    int
	longest time.Duration // it wants to wait at the agent
	yield   func()        // asks to end it early; it may be called when it has ended
	granted chan struct{} // closed when it has begun
	wait    time.Duration // it may wait at the agent
	ends    time.Time     // then it will have been answered as a rule
	ending  bool          // yield was called
}

// bound sets the limit. Turns that have begun without one go on uncounted.
func (t *turns) bound(limit int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit != limit {
		t.limit = limit
		t.grant()
	}
}

// join counts a watch until leave.
func (t *turns) join() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches++
}

func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watches--
	t.grant() // perhaps there is room for all now
}

// count is how many watches there are.
func (t *turns) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.watches
}

// begin returns when it is u's turn, or with the cause when ctx ends before. Every turn that
// has begun is to be ended.
func (t *turns) begin(ctx context.Context, u *turn) error {
	u.granted = make(chan struct{})
	t.mu.Lock()
	if t.limit == 0 {
		u.wait = u.longest
		t.mu.Unlock()
		return nil
	}
	t.queue[u.kind] = append(t.queue[u.kind], u)
	t.grant()
	tooLong := t.inTheWay(u)
	t.mu.Unlock()
	if tooLong != nil {
		tooLong.yield()
	}

	select {
	case <-u.granted:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(u) // it may have been granted just now
	t.queue[u.kind] = slices.DeleteFunc(t.queue[u.kind], func(o *turn) bool { return o == u })
	t.grant()
	return context.Cause(ctx)
}

// end gives the turn back.
func (t *turns) end(u *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(u)
	t.grant()
}

func (t *turns) remove(u *turn) {
	if _, ok := t.running[u]; !ok {
		return
	}
	delete(t.running, u)
	if u.kind == patient {
		t.waiting--
	}
}

// grant begins the turns of those who are first, as far as there is room.
func (t *turns) grant() {
	for t.limit == 0 || len(t.running) < t.limit {
		var kind int
		switch {
		case len(t.queue[urgent]) > 0:
			kind = urgent
		case len(t.queue[patient]) > 0 && t.waiting < t.room():
			kind = patient
		default:
			return
		}
		u := t.queue[kind][0]
		t.queue[kind] = t.queue[kind][1:]
		if kind == patient {
			t.waiting++
			u.wait = t.share(u.longest)
		}
		u.ends = time.Now().Add(u.wait + u.wait/16)
		t.running[u] = struct{}{}
		close(u.granted)
	}
}

// crowded tells whether watches have to take turns.
func (t *turns) crowded() bool { return t.limit > 0 && t.watches > t.limit }

// room is how many queries may wait for a change at once. While watches take turns some
// connections are left to those that are answered at once: a few serve very many of them.
func (t *turns) room() int {
	if !t.crowded() {
		return max(t.limit, t.watches)
	}
	return t.limit - t.limit/10
}

// share is how long a query may wait at the agent.
func (t *turns) share(longest time.Duration) time.Duration {
	if !t.crowded() {
		return longest
	}
	return min(longest, max(shortestTurn, round*time.Duration(t.room())/time.Duration(t.watches)))
}

// inTheWay returns the turn that has to end early because u would wait too long: those that
// run were given their time when there were fewer watches, or go all at the same pace.
func (t *turns) inTheWay(u *turn) *turn {
	// One connection that is free soon serves many of those that are answered at once.
	before, soon := min(len(t.queue[urgent]), 1), time.Now().Add(shortestTurn)
	if u.kind == patient {
		before, soon = len(t.queue[urgent])+len(t.queue[patient]), time.Now().Add(round+round/16)
	}
	var latest *turn
	for o := range t.running {
		if o.ending || !o.ends.After(soon) {
			before--
		} else if latest == nil || o.ends.After(latest.ends) {
			latest = o
		}
	}
	if before <= 0 || latest == nil {
		return nil
	}
	latest.ending = true
	return latest
}

// Crowded says in a sentence that there are more watches than connections, what that costs
// and what to do; it is empty when all is well.
func (c *Client) Crowded() string {
	t := &c.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.crowded() {
		return ""
	}
	instead := "use TLS"
	if strings.HasPrefix(c.base, "https:") {
		instead = "have it speak HTTP/2"
	}
	late := max(round, shortestTurn*time.Duration(t.watches)/time.Duration(t.limit)).Round(time.Second)
	return fmt.Sprintf("%d services share %d connections to the agent, so that changes arrive up to %v late; "+
		"%s, or raise consul.connections and the agent's limits.http_max_conns_per_client", t.watches, t.limit, late, instead)
}
