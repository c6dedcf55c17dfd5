package e2e

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"sidecar/upstream"
)

// ask sends a request with one more field, and reads the answer.
func (w *wire) ask(path, field string) (answer, error) {
	if _, err := io.WriteString(w, "GET "+path+" HTTP/1.1\r\nHost: e2e\r\n"+field+"\r\n\r\n"); err != nil {
		return answer{}, err
	}
	return w.receive()
}

// owners are which origin answers each of n keys.
func owners(t *testing.T, address string, n int) []string {
	t.Helper()
	w, all := connect(t, address), make([]string, n)
	for i := range all {
		a, err := w.ask("/", fmt.Sprintf("X-User: user-%d", i))
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%+v, %v", a, err)
		}
		all[i] = a.origin()
	}
	return all
}

func TestAKeyStaysWithItsInstance(t *testing.T) {
	t.Parallel()
	const keys = 300
	origins := serveOrigins(t, "orders-1", "orders-2", "orders-3")
	s := serving(t, static("orders", fastCheck+`balancer = { policy = "ring_hash", hash_key = "header:X-User" }`, addresses(origins)...))
	first, again := owners(t, s.address("orders"), keys), owners(t, s.address("orders"), keys)
	by := map[string]int{}
	for i := range first {
		if by[first[i]]++; first[i] != again[i] {
			t.Errorf("key %d went to %s, and then to %s", i, first[i], again[i])
		}
	}
	t.Logf("of %d keys: %v", keys, by)
	for _, o := range origins {
		if by[o.name] < keys/9 {
			t.Errorf("%s has %d of %d keys", o.name, by[o.name], keys)
		}
	}
	// One leaves: its keys move, the others' stay.
	left := origins[0]
	left.health.Store(http.StatusInternalServerError)
	s.waitState("orders", left.address, upstream.StateDown)
	moved := 0
	for i, owner := range owners(t, s.address("orders"), keys) {
		if owner == first[i] {
			continue
		}
		if moved++; first[i] != left.name {
			t.Errorf("key %d has moved from %s to %s, without need", i, first[i], owner)
		}
	}
	if moved != by[left.name] {
		t.Errorf("%d keys have moved, and %d had to", moved, by[left.name])
	}
	left.health.Store(http.StatusOK)
	s.waitState("orders", left.address, upstream.StateUsable)
	for i, owner := range owners(t, s.address("orders"), keys) {
		if owner != first[i] {
			t.Errorf("key %d has not come back to %s", i, first[i])
		}
	}
}

// One that comes back is cold: it gets its share little by little.
func TestOneThatComesBackBeginsSlowly(t *testing.T) {
	t.Parallel()
	const ramp, fair = 3 * time.Second, 1. / 3
	origins := serveOrigins(t, "orders-1", "orders-2", "orders-3")
	back := origins[0]
	for _, o := range origins {
		o.latency.Store(int64(5 * time.Millisecond))
	}
	s := serving(t, static("orders", fastCheck+`balancer = { policy = "round_robin", slow_start = "3s" }`, addresses(origins)...))
	l := startLoad(t, s.address("orders"), 8)
	back.health.Store(http.StatusInternalServerError)
	s.waitState("orders", back.address, upstream.StateDown)
	l.more(t, 100)
	returned := time.Now()
	back.health.Store(http.StatusOK)
	s.waitState("orders", back.address, upstream.StateUsable)
	s.wantExplained("orders", back.address, "begins slowly, with ")
	within(t, patience, "it has begun long ago", func() bool {
		e := s.endpoint("orders", back.address)
		return e.Ramp == 1 && time.Since(e.Since) > ramp+time.Second
	})
	l.end(t)
	first := l.samples.from(back.name).between(returned, time.Now())[0].at
	early := l.samples.between(first, first.Add(ramp/3)).share(back.name)
	late := l.samples.between(first.Add(ramp), time.Now()).share(back.name)
	t.Logf("its share is %.0f %% in the first third of its slow start, and %.0f %% after it", 100*early, 100*late)
	if early > fair/1.5 || late < 0.8*fair || late > 1.2*fair {
		t.Errorf("its share is %.2f, then %.2f", early, late)
	}
}

// Traffic stays in its zone while that has the capacity, and what is too much for it leaves.
func TestTrafficPrefersItsZone(t *testing.T) {
	t.Parallel()
	const clients, requests = 8, 2000
	near, far := serveOrigins(t, "near-1", "near-2"), serveOrigins(t, "far-1", "far-2")
	s := serving(t, "runtime.zone = \"a\"\n"+static("orders", fastCheck, near[0].address+" zone=a", near[1].address+" zone=a",
		far[0].address+" zone=b", far[1].address+" zone=b"))
	for _, o := range append(near, far...) {
		o.latency.Store(int64(2 * time.Millisecond))
	}
	leaves := func(what string, least, most float64) {
		t.Helper()
		all := ask(t, s.address("orders"), clients, requests)
		share := all.share(far[0].name) + all.share(far[1].name)
		t.Logf("%s: %.1f %% leave the zone", what, 100*share)
		if len(all.good()) != requests {
			t.Errorf("%s: %v", what, all)
		}
		if share < least || share > most {
			t.Errorf("%s: %.3f leave the zone, want %.2f to %.2f", what, share, least, most)
		}
	}
	leaves("all are well", 0, 0.01)
	near[0].health.Store(http.StatusInternalServerError)
	s.waitState("orders", near[0].address, upstream.StateDown)
	// Half of the zone's capacity is left. Of 2,000 draws with an even chance, one in 10^15
	// sets is further off than this.
	leaves("one of two is down", 0.41, 0.59)
	near[1].health.Store(http.StatusInternalServerError)
	s.waitState("orders", near[1].address, upstream.StateDown)
	leaves("both are down", 1, 1)
	near[0].health.Store(http.StatusOK)
	near[1].health.Store(http.StatusOK)
	s.waitState("orders", near[0].address, upstream.StateUsable)
	s.waitState("orders", near[1].address, upstream.StateUsable)
	leaves("all are well again", 0, 0.01)
}
