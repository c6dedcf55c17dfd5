package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecar/discovery"
)

const (
	// A ping every pingEvery tells that the connection lives; silentMost without anything read
	// tells that it does not.
	pingEvery  = 3 * time.Second
	silentMost = 8 * time.Second
	// refusedPause is how long a server is left alone that does not let us subscribe.
	refusedPause = time.Minute
)

// A channel is what a watch wants notifications of.
type channel struct {
	name    string
	pattern bool // name is a pattern
}

// channel is that of the notifications about key.
func (c *Client) channel(key string) channel {
	if prefix, ok := prefixOf(key); ok {
		return channel{name: escape(c.prefixes+prefix) + "*", pattern: true}
	}
	return channel{name: c.prefixes + key}
}

// notices listens for keyspace notifications, on one connection for all watches of a Client.
// It is for concurrent use. Its goroutine lives as long as there are watches.
//
// Notifications only hasten looks, so nothing of it is an error of a lookup: without the
// permission to subscribe, or the server's will to publish, there is polling.
type notices struct {
	client *Client

	mu      sync.Mutex
	wanted  map[channel]map[chan struct{}]bool // who is woken
	cancel  context.CancelFunc                 // ends the goroutine; nil: there is none
	changed chan struct{}                      // tells the goroutine that wanted has changed; holds one call
	ended   chan struct{}                      // closed when it has ended
}

func newNotices(c *Client) *notices {
	return &notices{client: c, wanted: map[channel]map[chan struct{}]bool{}}
}

// join has wake get something whenever ch has something. Leave undoes it, and waits for the
// goroutine when nobody is left.
func (n *notices) join(ch channel, wake chan struct{}) (leave func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wanted[ch] == nil {
		n.wanted[ch] = map[chan struct{}]bool{}
	}
	n.wanted[ch][wake] = true
	if n.cancel == nil {
		ctx, cancel := context.WithCancel(context.Background())
		changed, ended := make(chan struct{}, 1), make(chan struct{})
		n.cancel, n.changed, n.ended = cancel, changed, ended
		go func() {
			defer close(ended)
			n.listen(ctx, changed)
		}()
	}
	poke(n.changed)
	return func() { n.leave(ch, wake) }
}

func (n *notices) leave(ch channel, wake chan struct{}) {
	n.mu.Lock()
	delete(n.wanted[ch], wake)
	if len(n.wanted[ch]) == 0 {
		delete(n.wanted, ch)
	}
	if len(n.wanted) > 0 {
		poke(n.changed)
		n.mu.Unlock()
		return
	}
	cancel, ended := n.cancel, n.ended
	n.cancel = nil
	n.mu.Unlock()
	cancel()
	<-ended
}

// wake tells those who want ch.
func (n *notices) wake(ch channel) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for wake := range n.wanted[ch] {
		poke(wake)
	}
}

// listen keeps a subscription until ctx ends.
func (n *notices) listen(ctx context.Context, changed <-chan struct{}) {
	backoff := discovery.Backoff{First: pauseFirst, Most: 2 * time.Second}
	for ctx.Err() == nil {
		began := time.Now()
		err := n.subscription(ctx, changed)
		if time.Since(began) > silentMost {
			backoff.Reset()
		}
		pause := backoff.Next()
		var refused redis.Error
		if errors.As(err, &refused) {
			pause = refusedPause
		}
		discovery.Sleep(ctx, pause, nil)
	}
}

// subscription subscribes to what is wanted until that fails or ctx ends. It returns what the
// receiver met.
func (n *notices) subscription(ctx context.Context, changed <-chan struct{}) error {
	pubsub := n.client.redis.Subscribe(ctx)
	var err error
	received := make(chan struct{})
	go func() {
		defer close(received)
		err = n.receive(ctx, pubsub)
	}()
	n.follow(ctx, pubsub, changed, received)
	_ = pubsub.Close() // ends the receiver too
	<-received
	return err
}

// follow keeps the subscription up with what is wanted, and pings, until something fails.
func (n *notices) follow(ctx context.Context, pubsub *redis.PubSub, changed, received <-chan struct{}) {
	has := map[channel]bool{}
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for err := n.update(ctx, pubsub, has); err == nil; {
		select {
		case <-ctx.Done():
			return
		case <-received:
			return
		case <-ping.C:
			err = pubsub.Ping(ctx)
		case <-changed:
			err = n.update(ctx, pubsub, has)
		}
	}
}

// update subscribes to what is wanted and not in has, and the other way round.
func (n *notices) update(ctx context.Context, pubsub *redis.PubSub, has map[channel]bool) error {
	var more, fewer [2][]string // names and patterns
	kind := func(ch channel) int {
		if ch.pattern {
			return 1
		}
		return 0
	}
	n.mu.Lock()
	for ch := range n.wanted {
		if !has[ch] {
			has[ch] = true
			more[kind(ch)] = append(more[kind(ch)], ch.name)
		}
	}
	for ch := range has {
		if n.wanted[ch] == nil {
			delete(has, ch)
			fewer[kind(ch)] = append(fewer[kind(ch)], ch.name)
		}
	}
	n.mu.Unlock()
	for _, step := range []struct {
		do    func(context.Context, ...string) error
		names []string
	}{
		{pubsub.Subscribe, more[0]}, {pubsub.PSubscribe, more[1]},
		{pubsub.Unsubscribe, fewer[0]}, {pubsub.PUnsubscribe, fewer[1]},
	} {
		if len(step.names) == 0 {
			continue // without names it would mean all of them
		}
		if err := step.do(ctx, step.names...); err != nil {
			return err
		}
	}
	return nil
}

// receive wakes whom notifications concern until it fails. The library takes for granted what
// notifications consist of, and panics when a server sends something else.
func (n *notices) receive(ctx context.Context, pubsub *redis.PubSub) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errNotRedis, p)
		}
	}()
	for {
		got, err := pubsub.ReceiveTimeout(ctx, silentMost)
		if err != nil {
			return err
		}
		switch m := got.(type) {
		case *redis.Message:
			ch := channel{name: m.Channel}
			if m.Pattern != "" {
				ch = channel{name: m.Pattern, pattern: true}
			}
			n.wake(ch)
		case *redis.Subscription:
			// What changed before it began was not told.
			n.wake(channel{name: m.Channel, pattern: m.Kind == "psubscribe"})
		}
	}
}
