package upstream_test

import (
	"context"
	"errors"
	"fmt"

	"sidecar/discovery"
	"sidecar/upstream"
)

// first is the simplest of policies: it takes the first endpoint that is not avoided.
func first(c upstream.Candidates) upstream.Picker { return firstPicker(c.Endpoints) }

type firstPicker []*upstream.Endpoint

func (p firstPicker) Pick(_ upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	for _, e := range p {
		if len(avoid) == 0 || avoid[0] != e {
			return e
		}
	}
	return nil
}

// fixed is a source that reports one set.
type fixed []discovery.Instance

func (f fixed) Watch(ctx context.Context, report func(discovery.Update)) {
	report(discovery.Update{Instances: f})
	<-ctx.Done()
}

func Example() {
	s := upstream.New(upstream.Options{
		Name:   "orders",
		Source: fixed{{ID: "a", Address: "10.0.0.1:80", Weight: 1}, {ID: "b", Address: "10.0.0.2:80", Weight: 1}},
		Policy: first,
		Budget: upstream.BudgetOptions{Ratio: 0.2, MinPerSecond: 10},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	<-s.Known()

	s.Budget().Deposit()
	lease, err := s.Acquire(upstream.PickKey{})
	if err != nil {
		fmt.Println(err)
		return
	}
	failed := lease.Endpoint()
	fmt.Println("first", failed.Address())
	lease.Report(upstream.Result{Outcome: upstream.ConnectFailed})
	lease.Release()

	if s.Budget().Withdraw() {
		lease, err = s.Acquire(upstream.PickKey{}, failed)
		if errors.Is(err, upstream.ErrAllAvoided) {
			fmt.Println("nobody else to ask")
			return
		}
		fmt.Println("then", lease.Endpoint().Address())
		lease.Report(upstream.Result{Outcome: upstream.Success})
		lease.Release()
	}
	// Output:
	// first 10.0.0.1:80
	// then 10.0.0.2:80
}
