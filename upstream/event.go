package upstream

// An EventKind is what happened to an endpoint.
type EventKind uint8

// The kinds of event.
const (
	// Retired: the instance has left the service. It is the last event of an endpoint.
	Retired EventKind = iota
	// Down: its health check has marked it down.
	Down
	// Up: its health check passes again.
	Up
)

// String returns "retired", "down" or "up".
func (k EventKind) String() string {
	switch k {
	case Retired:
		return "retired"
	case Down:
		return "down"
	case Up:
		return "up"
	default:
		return "unknown"
	}
}

// An Event is something that those who keep connections to an endpoint want to know.
type Event struct {
	Endpoint *Endpoint
	Kind     EventKind
}

// OnEvent has f called for each event, after the snapshot that reflects it has been
// published, and in the order in which the events happened. It must be called before Run,
// and may be called several times; each event goes to the functions in that order. f is
// called on the service's goroutine and must not block. When Run ends there is no event:
// the endpoints have not left the service.
func (s *Service) OnEvent(f func(Event)) { s.handlers = append(s.handlers, f) }

// emit hands out the events of one step.
func (s *Service) emit() {
	for _, event := range s.events {
		for _, f := range s.handlers {
			f(event)
		}
	}
	clear(s.events)
	s.events = s.events[:0]
}
