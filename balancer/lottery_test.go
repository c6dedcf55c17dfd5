package balancer

import (
	"math/rand/v2"
	"testing"
)

func TestLotteryDrawsByWeight(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{2, 3, 10, 50} {
		weights := make([]int, n)
		sum := 0
		for i := range weights {
			weights[i] = 1 + random.IntN(20)
			sum += weights[i]
		}
		c := newCast(t, weights...)
		l := newLottery(c.endpoints, random.Uint64)
		const draws = 60000
		got := make([]float64, n)
		first := make([]float64, n)
		for range draws {
			got[c.index[l.draw()]] += 1. / draws
			a, b := l.drawPair()
			if a == b {
				t.Fatal("a pair of one")
			}
			first[c.index[a]] += 1. / draws
		}
		var want []float64
		for _, w := range weights {
			want = append(want, float64(w)/float64(sum))
		}
		c.wantShares(got, 0.01, want...)
		c.wantShares(first, 0.01, want...)
	}
}

func TestLotteryPairsEvenly(t *testing.T) {
	c := newCast(t, 1, 1, 1)
	l := newLottery(c.endpoints, rand.New(rand.NewPCG(9, 10)).Uint64)
	pairs := make(map[[2]int]int)
	for range 60000 {
		a, b := l.drawPair()
		pairs[[2]int{c.index[a], c.index[b]}]++
	}
	for pair, n := range pairs {
		if n < 9600 || n > 10400 {
			t.Errorf("pair %v came %d times, want 10000", pair, n)
		}
	}
	if len(pairs) != 6 {
		t.Errorf("%d pairs, want 6", len(pairs))
	}
}

// One endpoint has nearly all the weight; the other must still be drawn as its partner.
func TestLotteryPairsTheOverwhelming(t *testing.T) {
	c := newCast(t, 1<<20, 1)
	l := newLottery(c.endpoints, c.random.Uint64)
	for range 100 {
		if a, b := l.drawPair(); a == b {
			t.Fatal("a pair of one")
		}
	}
}
