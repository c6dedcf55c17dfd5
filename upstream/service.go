package upstream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sidecar/discovery"
)

// A Service is a named upstream: its endpoints and what is decided about them. Apart from
// OnEvent, Run and Step, its methods may be called from any number of goroutines at any
// time, also before and after Run.
type Service struct {
	options Options
	log     *zap.Logger
	budget  *Budget

	// What the data path reads.
	snapshot    atomic.Pointer[Snapshot]
	clock       clock
	gate        *gate        // nil unless the service's leases are counted
	fairGap     atomic.Int64 // how long an endpoint waits for its turn, in ns; 0: not known
	avoidLists  sync.Pool    // of *avoidList
	refusals    refusals
	connections connections

	// What others tell the service's goroutine.
	inbox inbox
	trips tripLog
	slots slots
	// asking is how the source is asked to look again.
	asking asking

	// What the service's goroutine publishes beside the snapshot.
	source  atomic.Pointer[sourceState]
	gone    atomic.Pointer[[]*Endpoint] // retired, with leases when it last looked
	history history
	known   chan struct{}
	drained atomic.Pointer[map[string]bool] // by ID; never changed, but replaced

	started  atomic.Bool
	handlers []func(Event) // unchanged once Run has been called

	// Owned by the service's goroutine.
	endpoints  map[string]*Endpoint // by ID
	order      []*Endpoint          // sorted by ID; a new slice for each set
	reported   []discovery.Instance // the last set
	reweighted bool                 // a picker would be made differently now
	events     []Event              // of this step
	spares     []*Endpoint          // the fallback instances, sorted by ID
	compared   comparison           // when endpoints were last compared
	running    sync.WaitGroup       // the source and the health checks
}

// New returns a Service that knows nothing until Run is called.
func New(o Options) *Service {
	s := &Service{
		options:    o,
		log:        o.Log,
		clock:      newClock(o.Clock, o.Random),
		gate:       newGate(&o),
		avoidLists: sync.Pool{New: func() any { return new(avoidList) }},
		refusals:   refusalsOf(o.Name),
		known:      make(chan struct{}),
		endpoints:  make(map[string]*Endpoint),
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.log = s.log.With(zap.String("service", o.Name))
	s.inbox.wake = make(chan struct{}, 1)
	s.trips.poke = s.inbox.poke
	s.asking.source, _ = o.Source.(discovery.Refresher)
	s.budget = newBudget(o.Budget, s.clock)
	s.makeSpares()
	s.source.Store(&sourceState{})
	drained := make(map[string]bool, len(o.Drained))
	for _, id := range o.Drained {
		drained[id] = true
	}
	s.drained.Store(&drained)
	s.snapshot.Store(&Snapshot{Cause: ErrUnknownYet.of(o.Name, "")})
	return s
}

// makeSpares makes the endpoints of the fallback instances. They are always there, so that
// what they have learned lasts from one outage to the next.
func (s *Service) makeSpares() {
	for _, in := range s.options.Fallback {
		e := s.makeEndpoint(in)
		e.spare = true
		e.standing.Store(&standing{state: StateSpare, why: "a fallback instance", since: s.clock.now()})
		s.spares = append(s.spares, e)
	}
	slices.SortFunc(s.spares, func(a, b *Endpoint) int { return strings.Compare(a.id, b.id) })
}

// Elapsed is the time on the clock that the service keeps its account by, since an origin of
// its own. It runs as fast as any other monotonic clock.
func (s *Service) Elapsed() time.Duration { return s.clock.elapsed() }

// Name is the service's name.
func (s *Service) Name() string { return s.options.Name }

// Snapshot returns the present set of endpoints. It is never nil.
func (s *Service) Snapshot() *Snapshot { return s.snapshot.Load() }

// Budget is the retry budget that all requests to the service share.
func (s *Service) Budget() *Budget { return s.budget }

// Known is closed at the source's first answer, once a snapshot reflects it. That the
// service is unknown is an answer; an error is none.
func (s *Service) Known() <-chan struct{} { return s.known }

// Run watches the source, checks the endpoints and publishes snapshots. It blocks until
// ctx ends and all that it started has ended. After that the last snapshot stands, for the
// requests that are still running, and nothing changes it any more. Run must be called
// once.
func (s *Service) Run(ctx context.Context) {
	if !s.started.CompareAndSwap(false, true) {
		panic("upstream: Run called twice") //nolint:forbidigo // only a programmer's mistake leads here
	}
	s.running.Go(func() { s.watchSource(ctx) })
	defer s.running.Wait()

	// The timer is for the next ejection that ends; before the first there is none.
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.inbox.wake:
		case <-timer.C:
		}
		began := time.Now()
		next := s.step(ctx)
		// What comes meanwhile is taken together: with thousands of endpoints that fail all at
		// once, a step for each trip would keep a CPU busy.
		if !rest(ctx, restPerStep*time.Since(began)) {
			return
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(next.Sub(s.clock.now()))
		}
	}
}

// Retire says that nobody will ask the service any more but who does already, because another has
// taken its place: all its endpoints count as retired, so that no connection to them is kept. There
// is an event for those only whose address is none of the other's, which may be nil. It is called when
// Run has returned.
func (s *Service) Retire(by *Service) {
	stays := make(map[string]bool)
	if by != nil {
		for _, e := range by.Snapshot().Endpoints {
			stays[e.address] = true
		}
	}
	for _, e := range s.order {
		e.retired.Store(true)
		if !stays[e.address] {
			s.events = append(s.events, Event{e, Retired})
		}
	}
	s.emit()
	for _, e := range s.spares {
		e.retired.Store(true)
	}
}

// Instances are those of the last set, for a service that takes the place of this one; known is false
// before there was any.
func (s *Service) Instances() (set []discovery.Instance, known bool) {
	select {
	case <-s.known:
	default:
		return nil, false
	}
	for _, e := range s.Snapshot().Endpoints {
		if !e.spare {
			set = append(set, *e.Instance())
		}
	}
	return set, true
}

// restPerStep is how many times as long as a step the service's goroutine rests behind it: it
// never takes more than a tenth of a CPU.
const restPerStep = 9

// rest waits for d, and tells whether ctx has not ended.
func rest(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// watchSource runs the source.
func (s *Service) watchSource(ctx context.Context) {
	s.options.Source.Watch(ctx, s.inbox.putUpdate)
	if ctx.Err() == nil {
		s.inbox.putUpdate(discovery.Update{Err: errStopped, At: time.Now()})
	}
}

var errStopped = errors.New("the source has stopped watching")

// Feed takes in what a source would have reported: before Run what it begins with, until the source
// has answered. In simulations, which do not call Run, the next Step applies it.
func (s *Service) Feed(u discovery.Update) { s.inbox.putUpdate(u) }

// Step applies what is waiting and publishes. It is for simulations in virtual time, which
// call it instead of Run, on one goroutine: when Awake says so, and at the time that it
// returns at the latest. There are no health checks then.
func (s *Service) Step() (next time.Time) { return s.step(context.Background()) }

// Awake tells whether there is something for Step to do, which has to follow then. It is for
// simulations too, and not for use beside Run.
func (s *Service) Awake() bool {
	select {
	case <-s.inbox.wake:
		return true
	default:
		return false
	}
}

// step takes in what has been said, decides, publishes, and tells of it. It returns when
// it wants to be called again at the latest, or the zero time.
func (s *Service) step(ctx context.Context) time.Time {
	now := s.clock.now()
	set, failure, verdicts := s.inbox.take()
	if set != nil {
		s.applySet(ctx, set, now)
	}
	if failure != nil {
		s.applyFailure(failure, now)
	}
	for _, v := range verdicts {
		s.applyVerdict(v)
	}
	for t := s.trips.take(); t != nil; t = t.next {
		s.applyTrip(t)
	}
	for _, c := range s.inbox.takeCommands() {
		s.applyCommand(c, now)
	}
	next := s.publish(now)
	if set != nil {
		s.tellKnown()
	}
	s.emit()
	for _, at := range []time.Time{s.compare(now), s.asking.ask(now)} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

func (s *Service) tellKnown() {
	select {
	case <-s.known:
	default:
		close(s.known)
	}
}
