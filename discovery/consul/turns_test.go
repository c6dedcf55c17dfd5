package consul

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

// A crowd is a registry that answers for itself: at once what does not wait, the rest when
// the wait is over or the service has changed.
type crowd struct {
	*registry
	lock     sync.Mutex
	index    map[string]uint64        // of each service by its path
	changed  map[string]chan struct{} // closed when it changes
	asked    map[string]int           // queries
	underway int
	most     int           // queries that were under way at once
	longest  time.Duration // wait that was asked for
}

func newCrowd(t *testing.T, o Options, serve ...func(*registry, *http.Server) error) *crowd {
	c := &crowd{registry: newRegistry(t, o, serve...), index: map[string]uint64{}, changed: map[string]chan struct{}{}, asked: map[string]int{}}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case q := <-c.queries:
				go c.answer(q)
			case <-stop:
				return
			}
		}
	}()
	return c
}

func (c *crowd) answer(q *query) {
	path, params := q.URL.Path, q.URL.Query()
	c.lock.Lock()
	c.asked[path]++
	c.underway++
	c.most = max(c.most, c.underway)
	c.index[path] = max(c.index[path], 1)
	if c.changed[path] == nil {
		c.changed[path] = make(chan struct{})
	}
	changed, index := c.changed[path], c.index[path]
	c.lock.Unlock()
	if params.Get("index") == strconv.FormatUint(index, 10) {
		wait, _ := time.ParseDuration(params.Get("wait"))
		c.lock.Lock()
		c.longest = max(c.longest, wait)
		c.lock.Unlock()
		select {
		case <-changed:
		case <-time.After(wait):
		case <-q.Context().Done():
		}
	}
	c.lock.Lock()
	c.underway--
	index = c.index[path]
	c.lock.Unlock()
	select {
	case <-q.Context().Done(): // nobody listens any more
	default:
		q.with(index, entry("a", weighing(index)))
	}
}

// change changes a service.
func (c *crowd) change(service string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	path := "/v1/health/service/" + service
	c.index[path]++
	close(c.changed[path])
	c.changed[path] = make(chan struct{})
}

// counts returns the queries since it was last called, and forgets what was most.
func (c *crowd) counts() (asked map[string]int, most int, longest time.Duration) {
	c.lock.Lock()
	defer c.lock.Unlock()
	asked, most, longest = c.asked, c.most, c.longest
	c.asked, c.most, c.longest = map[string]int{}, c.underway, 0
	return asked, most, longest
}

// watchMany starts n watches, and waits until each knows its set.
func (c *crowd) watchMany(n int) []*watching {
	watches := make([]*watching, n)
	for i := range watches {
		watches[i] = c.watch(Query{Service: fmt.Sprintf("s%d", i)})
	}
	for _, w := range watches {
		w.wantIDs("n1/a")
	}
	return watches
}

// 1,000 services over plain HTTP take no more connections than allowed, and each has its turn
// in some 5 s.
func TestManyWatchesShareTheConnections(t *testing.T) {
	const services, connections = 1000, 100
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, Options{})
		start := time.Now()
		watches := c.watchMany(services)
		if after := time.Since(start); after > time.Second {
			t.Errorf("the first sets took %v", after)
		}
		if text, want := c.client.Crowded(), "1000 services share 100 connections to the agent, so that changes arrive up to 5s late; use TLS, or raise consul.connections"; !strings.HasPrefix(text, want) {
			t.Errorf("crowded: %q", text)
		}
		pass(10 * time.Second)
		c.counts()
		dialled := c.dialled.Load()
		pass(time.Minute)
		asked, most, longest := c.counts()
		if more := c.dialled.Load() - dialled; dialled > connections+spareConnections || more > 0 {
			t.Errorf("%d connections were opened to begin with, %d later on", dialled, more)
		}
		if most > connections {
			t.Errorf("%d queries were under way at once", most)
		}
		if longest != round*(connections-connections/10)/services {
			t.Errorf("queries wait for %v", longest)
		}
		if len(asked) != services {
			t.Errorf("%d services were asked for", len(asked))
		}
		least, highest := slices.Min(slices.Collect(maps.Values(asked))), slices.Max(slices.Collect(maps.Values(asked)))
		if least < 10 || highest > 13 { // one in 5 s, and what the agent adds to a wait
			t.Errorf("%d to %d queries for a service in a minute, want some 12", least, highest)
		}
		for _, w := range watches {
			w.latest()
		}
		c.change("s500")
		if u := watches[500].next(round + round/5); u.Instances[0].Weight != 2 {
			t.Errorf("update %+v", u)
		}
		for _, w := range watches {
			w.cancel()
		}
	})
}

// A fresh look is wanted where traffic fails: it does not queue behind those that only wait.
func TestFirstAndRefreshedQueriesGoBeforeThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, Options{Connections: 10})
		watches := c.watchMany(10)
		if text := c.client.Crowded(); text != "" {
			t.Errorf("crowded: %q", text)
		}
		pass(2 * briefly) // each waits for a minute now
		if _, _, longest := c.counts(); longest != DefaultWait {
			t.Errorf("queries wait for %v", longest)
		}
		source := c.client.Source(Query{Service: "late"})
		late := startWatch(t, source)
		started := time.Now()
		late.wantIDs("n1/a")
		if after := time.Since(started); after > shortestTurn {
			t.Errorf("the first query had to wait for %v", after)
		}
		pass(DefaultWait) // until all take short turns
		for range 20 {
			late.latest()
			before := time.Now()
			discovery.Refresh(source)
			late.wantIDs("n1/a")
			if after := time.Since(before); after > shortestTurn+shortestTurn/16+refreshJitter {
				t.Errorf("a refresh took %v", after)
			}
			pass(1100 * time.Millisecond)
		}
		c.counts()
		pass(time.Minute)
		asked, most, longest := c.counts()
		if len(asked) != 11 || most > 10 || longest > round {
			t.Errorf("%d services, %d queries at once, which wait for up to %v", len(asked), most, longest)
		}
		for path, n := range asked {
			if n < 10 || n > 22 { // the scout's waits are shorter
				t.Errorf("%s was asked for %d times in a minute", path, n)
			}
		}
		for _, w := range watches {
			for u := w.latest(); u != nil && u.Err != nil; u = nil {
				t.Errorf("making room is no failure: %v", u.Err)
			}
		}
		late.stop()
		pass(10 * time.Second)
		c.counts()
		pass(time.Minute)
		if _, _, longest := c.counts(); longest != DefaultWait {
			t.Errorf("with room for all, queries wait for %v", longest)
		}
	})
}

func TestConnectionsAreBoundedOnlyWhereEachQueryTakesOne(t *testing.T) {
	for address, want := range map[string]int{"127.0.0.1:8500": 7, "unix:/run/consul.sock": 7, "https://127.0.0.1:8501": 0} {
		client, err := New(Options{Address: address, Connections: 7})
		if err != nil {
			t.Fatal(err)
		}
		if got := client.turns.limit; got != want {
			t.Errorf("%s: bound %d, want %d", address, got, want)
		}
	}
	client, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := client.turns.limit; got != DefaultConnections {
		t.Errorf("bound %d", got)
	}
}

// A watch that ends while it waits for its turn leaves no hole.
func TestWatchThatEndsInTheQueueIsForgotten(t *testing.T) {
	story(t, Options{Connections: 1}, func(t *testing.T, r *registry) {
		first := r.watch(Query{Service: "orders"})
		q := r.wantQuery(orders, 0)
		queued := r.watch(Query{Service: "stock"})
		third := r.watch(Query{Service: "third"})
		r.wantNone(time.Second)
		queued.stop()
		q.with(5, entry("a"))
		first.wantIDs("n1/a")
		r.wantQuery("/v1/health/service/third", 0).with(5, entry("a"))
		third.wantIDs("n1/a")
		third.stop()
		first.stop()
		if n := len(r.client.turns.running); n != 0 {
			t.Errorf("%d turns are taken although nobody watches", n)
		}
	})
}
