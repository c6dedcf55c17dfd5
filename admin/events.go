package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sidecar/upstream"
)

const (
	// maxListeners is how many may listen to /events at once.
	maxListeners = 32
	// eventEvery is how often they are told.
	eventEvery = time.Second
	// eventCost is how much longer than it takes to make an event the next one is waited for: who
	// looks at thousands of endpoints shall not keep a CPU busy.
	eventCost = 9
	// maxLate is how many events may wait for a listener before it is dropped, and eventTimeout
	// how long it may take to read one.
	maxLate      = 3
	eventTimeout = 10 * time.Second
)

// live is what the page is told once a second.
type live struct {
	Document
	Headline  headline `json:"headline"`
	Decisions []told   `json:"decisions"`
}

// event is what is said now, as server-sent events have it.
func (s *Server) event() ([]byte, error) {
	d := s.document()
	all := live{Document: d, Headline: headlineOf(&d), Decisions: latest(d.Services)}
	for i := range d.Services {
		slim(d.Services[i].Endpoints)
	}
	body, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte("event: status\ndata: "), body, []byte("\n\n")), nil
}

// maxFull is up to how many endpoints of a service the page is told all about.
const maxFull = 300

// slim leaves out, of many endpoints, most of what those have been through that are well now. It is
// two thirds of all, and explain has it.
func slim(endpoints []upstream.EndpointStatus) {
	if len(endpoints) <= maxFull {
		return
	}
	for i := range endpoints {
		if e := &endpoints[i]; e.Sound {
			e.History = e.History[max(0, len(e.History)-1):]
			e.Errors = e.Errors[:min(1, len(e.Errors))]
		}
	}
}

var (
	errCrowded = errors.New("as many listen to this already as may; close a page")
	errEnding  = errors.New("the sidecar ends")
)

// A broadcast tells all its listeners the same, as long as there are any. One that does not take
// what it is told is dropped.
type broadcast struct {
	event func() ([]byte, error)
	log   *zap.Logger
	quit  chan struct{} // closed by end

	mu        sync.Mutex
	listeners map[chan []byte]bool
	telling   chan struct{} // closed when tell has ended; nil while nobody is told anything
	last      []byte        // what was told last
	ended     bool
}

func newBroadcast(event func() ([]byte, error), log *zap.Logger) *broadcast {
	return &broadcast{event: event, log: log, quit: make(chan struct{}), listeners: make(map[chan []byte]bool)}
}

// join returns where a listener hears, until it is closed. Who joins leaves.
func (b *broadcast) join() (chan []byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.ended:
		return nil, errEnding
	case len(b.listeners) >= maxListeners:
		return nil, errCrowded
	}
	events := make(chan []byte, maxLate)
	b.listeners[events] = true
	if b.telling == nil {
		b.telling = make(chan struct{})
		go b.tell(b.telling)
	} else if b.last != nil {
		events <- b.last // the next may be a second away
	}
	return events, nil
}

// leave ends what join has begun. It may have been dropped meanwhile.
func (b *broadcast) leave(events chan []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.listeners, events)
}

// tell makes events, until nobody listens any more.
func (b *broadcast) tell(done chan struct{}) {
	defer close(done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.quit:
			return
		case <-timer.C:
		}
		if b.deserted() {
			return
		}
		began := time.Now()
		event, err := b.make()
		if err != nil {
			b.log.Error("admin: the status has no JSON form", zap.Error(err))
		} else {
			b.publish(event)
		}
		timer.Reset(max(eventEvery, eventCost*time.Since(began)))
	}
}

// make is event, whose panic ends nothing else: net/http is not around it.
func (b *broadcast) make() (event []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			event, err = nil, fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return b.event()
}

// deserted tells whether nobody listens; then tell ends, and the next to join begins anew.
func (b *broadcast) deserted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.listeners) > 0 {
		return false
	}
	b.telling, b.last = nil, nil
	return true
}

func (b *broadcast) publish(event []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.last = event
	for events := range b.listeners {
		select {
		case events <- event:
		default:
			delete(b.listeners, events)
			close(events)
		}
	}
}

// end lets all listeners go and has tell end. It does not wait for that.
func (b *broadcast) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.ended = true
	close(b.quit)
	for events := range b.listeners {
		close(events)
	}
	clear(b.listeners)
}

// wait returns when nothing of the broadcast runs any more, or with ctx's error. It follows end.
func (b *broadcast) wait(ctx context.Context) error {
	b.mu.Lock()
	telling := b.telling
	b.mu.Unlock()
	if telling == nil {
		return nil
	}
	select {
	case <-telling:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// events tells a listener how things stand, for as long as it listens.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	events, err := s.broadcast.join()
	if err != nil {
		w.Header().Set("Retry-After", "10")
		s.write(w, http.StatusServiceUnavailable, typeText, []byte(err.Error()+"\n"))
		return
	}
	defer s.broadcast.leave(events)
	control := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case event, on := <-events:
			if !on {
				return
			}
			_ = control.SetWriteDeadline(time.Now().Add(eventTimeout)) // as in bounded
			if _, err := w.Write(event); err != nil {
				return
			}
			if err := control.Flush(); err != nil {
				return
			}
		}
	}
}
