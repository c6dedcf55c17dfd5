package upstream

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// withdrawals returns how many retries the budget allows now.
func withdrawals(b *Budget) int {
	n := 0
	for b.Withdraw() {
		n++
	}
	return n
}

func deposit(b *Budget, n int) {
	for range n {
		b.Deposit()
	}
}

func TestBudgetIsAShareAndAReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{Ratio: .2, MinPerSecond: 10})
		if got := withdrawals(b); got != 100 {
			t.Errorf("%d retries without requests, want 10 per second for 10 s", got)
		}
		deposit(b, 1000)
		if got := withdrawals(b); got != 200 {
			t.Errorf("%d more for 1000 requests", got)
		}
		deposit(b, 4)
		if got := withdrawals(b); got != 0 {
			t.Errorf("%d for 4 requests", got)
		}
		deposit(b, 1)
		if got := withdrawals(b); got != 1 {
			t.Errorf("%d for the fifth", got)
		}
		s := b.Status()
		if s.Requests != 1005 || s.Retries != 301 || s.Left != 0 || s.Refused != 4 || s.Ratio != .2 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestBudgetForgetsAfterTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{Ratio: .2, MinPerSecond: 10})
		deposit(b, 1000)
		if got := withdrawals(b); got != 300 {
			t.Fatalf("%d retries", got)
		}
		time.Sleep(8 * time.Second)
		if got := withdrawals(b); got != 0 {
			t.Errorf("%d retries after 8 s", got)
		}
		time.Sleep(2 * time.Second)
		if got := withdrawals(b); got != 100 {
			t.Errorf("%d retries after 10 s, want the reserve", got)
		}
		time.Sleep(365 * 24 * time.Hour)
		if s := b.Status(); s.Requests != 0 || s.Retries != 0 || s.Left != 100 {
			t.Errorf("status after a year %+v", s)
		}
	})
}

// A steady stream in which everything fails: of n requests a fifth is retried, besides ten
// a second.
func TestBudgetOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{Ratio: .2, MinPerSecond: 10})
		requests, retries := 0, 0
		for range 6000 { // a minute at 100 per second
			time.Sleep(10 * time.Millisecond)
			b.Deposit()
			requests++
			if b.Withdraw() {
				retries++
			}
		}
		want := requests/5 + 60*10
		if retries < want*9/10 || retries > want*12/10 {
			t.Errorf("%d retries, want about %d", retries, want)
		}
	})
}

func TestBudgetOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			options  BudgetOptions
			requests int
			want     int
		}{
			{BudgetOptions{}, 1000, 0},
			{BudgetOptions{Ratio: -1, MinPerSecond: -5}, 1000, 0},
			{BudgetOptions{Ratio: math.NaN()}, 1000, 0},
			{BudgetOptions{Ratio: 1}, 10, 10},
			{BudgetOptions{MinPerSecond: 10, Window: time.Second}, 0, 10},
			{BudgetOptions{Ratio: .1, MinPerSecond: 3, Window: 2 * time.Second}, 100, 16},
			{BudgetOptions{Ratio: .5, Window: 5}, 0, 0},
		} {
			b := NewBudget(c.options)
			deposit(b, c.requests)
			if got := withdrawals(b); got != c.want {
				t.Errorf("%+v after %d requests: %d retries, want %d", c.options, c.requests, got, c.want)
			}
		}
	})
}

func TestBudgetIsNeverOverdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetOptions{Ratio: .2, MinPerSecond: 10})
		var retries atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 500 {
					b.Deposit()
					if b.Withdraw() {
						retries.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got := retries.Load(); got > 900 {
			t.Errorf("%d retries of 4000 requests", got)
		}
		if s := b.Status(); s.Requests != 4000 || s.Retries != uint64(retries.Load()) {
			t.Errorf("status %+v, %d retries", s, retries.Load())
		}
		if got := int(retries.Load()) + withdrawals(b); got != 900 {
			t.Errorf("%d retries in all", got)
		}
	})
}

func BenchmarkBudget(b *testing.B) {
	budget := NewBudget(BudgetOptions{Ratio: .2, MinPerSecond: 10})
	b.Run("deposit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			budget.Deposit()
		}
	})
	b.Run("withdraw", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			budget.Withdraw()
		}
	})
}
