package balancer

import (
	"math/rand/v2"
	"testing"

	"sidecar/upstream"
)

func TestRoundRobinTakesTurns(t *testing.T) {
	c := newCast(t, 3, 3, 3)
	p := c.picker(RoundRobin())
	last := c.index[p.Pick(upstream.PickKey{}, nil)]
	for range 10 {
		next := c.index[p.Pick(upstream.PickKey{}, nil)]
		if next != (last+1)%3 {
			t.Fatalf("%d after %d", next, last)
		}
		last = next
	}
}

func TestRoundRobinIsExactAndSmooth(t *testing.T) {
	for _, weights := range [][]int{{5, 1, 1}, {1, 2, 3}, {10, 20, 70}, {7, 1}, {1, 1, 2, 2, 30}} {
		c := newCast(t, weights...)
		round := layOut(c.endpoints)
		sum, common := 0, 0
		for _, w := range weights {
			sum += w
			common = gcd(w, common)
		}
		if len(round) != sum/common {
			t.Errorf("weights %v: a round has %d turns", weights, len(round))
		}
		for i, w := range weights {
			var turns []int
			for at, e := range round {
				if c.index[e] == i {
					turns = append(turns, at)
				}
			}
			if len(turns) != w/common {
				t.Errorf("weights %v: endpoint %d has %d turns", weights, i, len(turns))
			}
			// Evenly spread: never longer away than its distance and a turn of each other.
			for k, at := range turns {
				next := turns[(k+1)%len(turns)]
				if next <= at {
					next += len(round)
				}
				if limit := (sum+w-1)/w + len(weights) - 1; next-at > limit {
					t.Errorf("weights %v: endpoint %d is away for %d turns", weights, i, next-at)
				}
			}
		}
	}
}

// The light ones do not come one right after the other, as in nginx's smooth round robin.
func TestRoundRobinKeepsTheLightApart(t *testing.T) {
	for _, weights := range [][]int{{5, 1, 1}, {10, 1, 1, 1}, {1, 8, 1}} {
		c := newCast(t, weights...)
		round := layOut(c.endpoints)
		for i, e := range round {
			next := round[(i+1)%len(round)]
			if e.Weight() == 1 && next.Weight() == 1 {
				t.Errorf("weights %v: %s comes right after %s", weights, next.ID(), e.ID())
			}
		}
	}
}

func TestRoundRobinBoundsTheRound(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	weights := make([]int, 500)
	sum := 0
	for i := range weights {
		weights[i] = 1 + random.IntN(100000)
		sum += weights[i]
	}
	c := newCast(t, weights...)
	round := layOut(c.endpoints)
	if len(round) > minTurns+len(weights) {
		t.Errorf("a round has %d turns", len(round))
	}
	count := make([]int, len(weights))
	for _, e := range round {
		count[c.index[e]]++
	}
	for i, n := range count {
		exact := float64(weights[i]) / float64(sum) * minTurns
		if n < 1 || float64(n) > exact+1 || float64(n) < exact-1 {
			t.Errorf("weight %d has %d turns, want %.2f", weights[i], n, exact)
		}
	}
}

// Snapshots that change at every request must not send everything to the first endpoint.
func TestRoundRobinBeginsSomewhere(t *testing.T) {
	c := newCast(t, 1, 1, 1, 1)
	seen := make(map[*upstream.Endpoint]bool)
	for range 200 {
		seen[c.picker(RoundRobin()).Pick(upstream.PickKey{}, nil)] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d of 4 endpoints were the first", len(seen))
	}
}
