package e2e

import (
	"regexp"
	"testing"
	"time"
)

// Who is slow is left to those who are not in a hurry: nobody is. Both latencies are large
// beside what a busy machine adds, and services with and without a slow instance are measured
// in one run, in turns.
func TestOneThatIsSlowGetsLittleTraffic(t *testing.T) {
	const (
		clients, requests, rounds = 32, 1250, 3
		fast, slow                = 20 * time.Millisecond, 400 * time.Millisecond
	)
	sound := serveOrigins(t, "sound-1", "sound-2", "sound-3")
	origins := serveOrigins(t, "lame", "good-1", "good-2")
	lame := origins[0]
	for _, o := range append(sound, origins...) {
		o.latency.Store(int64(fast))
	}
	lame.latency.Store(int64(slow))
	s := serving(t, static("sound", "", addresses(sound)...)+static("orders", "", addresses(origins)...))
	var healthy, limping samples
	for range rounds {
		healthy = append(healthy, ask(t, s.address("sound"), clients, requests)...)
		limping = append(limping, ask(t, s.address("orders"), clients, requests)...)
	}
	share, normal, p99 := limping.share(lame.name), healthy.percentile(0.99), limping.percentile(0.99)
	t.Logf("all healthy: %v", healthy)
	t.Logf("one 20 times slower: %v; its share is %.2f %% (required: under 10 %%), and p99 %.2f times that of the healthy (required: 2)",
		limping, 100*share, float64(p99)/float64(normal))
	if n := len(healthy.good()) + len(limping.good()); n != 2*rounds*requests {
		t.Errorf("%d of %d requests were answered well", n, 2*rounds*requests)
	}
	if share >= 0.1 {
		t.Errorf("the slow one has %.2f %% of the traffic", 100*share)
	}
	if p99 > 2*normal {
		t.Errorf("p99 is %v, and %v while all are healthy", p99, normal)
	}
	if len(limping.from(lame.name).slower(slow-1)) == 0 {
		t.Error("nobody met the slow one, which proves nothing")
	}
	said := s.wantExplained("orders", lame.address, "gets ", "it is slow: it answers in ")
	found := regexp.MustCompile(`it answers in (\S+), half of the endpoints in (\S+) or less`).FindStringSubmatch(said)
	if found == nil {
		t.Fatal("explain does not compare it with the others")
	}
	own, errOwn := time.ParseDuration(found[1])
	others, errOthers := time.ParseDuration(found[2])
	if errOwn != nil || errOthers != nil || own < slow || others < fast || others > slow/2 {
		t.Errorf("explain says that it answers in %s, and half of the endpoints in %s", found[1], found[2])
	}
}
