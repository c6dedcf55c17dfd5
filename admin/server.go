// Package admin answers the questions of people and machines about a running sidecar, over
// local HTTP.
//
//	GET /                 the page for people with a browser, and for others a list of these
//	GET /events           what the page shows, once a second, as server-sent events
//	GET /healthz          200 while the process works
//	GET /readyz           200 once every service can be served, else 503 and what is missing
//	GET /metrics          Prometheus
//	GET /status           everything at a glance: JSON, or a table for people (?format=text)
//	GET /explain          how each service stands, in the same two forms
//	GET /explain/SERVICE  one service and its endpoints: what, why and until when
//	GET /config           the effective configuration, with secrets hidden; ?origins=1: and where each value is from
//	GET /tap/SERVICE      its requests as they pass, a JSON document on each line
//	GET /version          which build this is
//
//	POST /reload          loads the configuration again
//	POST /drain           drains the process, as SIGTERM does
//	POST /diff            a configuration in the body: what a reload to it would change
//	POST /services/SERVICE/endpoints/ID/ACTION  drain, undrain or uneject an endpoint
//
// Browsers are a danger to what listens on a loopback address, since any site can have them ask there:
// guard keeps them out. What changes something has to be asked for with the header Sidecar-Action: 1, and,
// but for a reload, over a unix socket or with Options.Actions.
//
// A Server knows nothing of the daemon: what it shows comes from the callbacks in Options.
// It listens on a loopback address or on a unix socket ("unix:/path"), which then decides by
// its permissions who may ask. It is no part of the data path, so it is plain net/http.
//
// A Client asks the same questions for the command line. WriteText prints a Document as a
// table, WriteExplanation and WriteVerdicts do so with what Client.Explain and
// Client.Verdicts return.
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sidecar/tap"
)

// DefaultAddress is where a sidecar is asked when nothing else is configured.
const DefaultAddress = "127.0.0.1:9901"

// A slow or silent client holds one connection, and not for long.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 16 << 10

	// maxConnections is how many there may be at once: more are closed, since they would take descriptors
	// and memory from the traffic.
	maxConnections = 256
	// maxLarge is how many answers of any size may be made and read at once: with thousands of endpoints
	// each has tens of megabytes. largePatience is how long a request waits for its turn.
	maxLarge      = 4
	largePatience = 3 * time.Second

	// healthTimeout is how long Options.Healthy may take. Probes commonly wait a second or
	// more; the answer "no" is worth more than none.
	healthTimeout = 900 * time.Millisecond
)

// Options says where a Server listens and where its answers come from. Callbacks are called
// on a goroutine per request, by several at once, and should return soon. A page whose
// callback is nil does not exist.
type Options struct {
	// Listen is "host:port" or "unix:/path"; empty means DefaultAddress.
	Listen string
	// Listener is already open at Listen; it is the Server's. Nil: Start opens one.
	Listener net.Listener
	// Version and Revision name the build.
	Version  string
	Revision string
	// Healthy tells why the process does not work, or nil: every loop answers before ctx
	// ends. A nil Healthy means that answering is proof enough.
	Healthy func(ctx context.Context) error
	// Ready tells what is missing before every service can be served, a line for each; none
	// means ready.
	Ready func() (missing []string)
	// Status tells everything at a glance. Build, At, Problems and, where Ready is given, readiness
	// are filled in by the Server. Without Status there is nothing to explain either.
	Status func() Document
	// Service tells everything about one service, found by its name. A nil Service has it
	// taken from Status, which builds all of them.
	Service func(name string) (s Service, known bool)
	// Config gives the effective configuration as text, with secrets hidden.
	Config func() ([]byte, error)
	// Origins gives each value of the configuration with its origin, for /config?origins=1.
	Origins func() []ConfigValue
	// Diff says what a reload to this configuration would change. It changes nothing.
	Diff func(toml []byte) (Report, error)
	// Tap gives where a service's requests can be watched. The error is ErrNoService, or says why
	// those of this one cannot.
	Tap func(service string) (*tap.Point, error)
	// Actions allows Drain and Endpoint to whoever reaches a port, and has the page offer buttons for
	// Endpoint. Over a unix socket both are allowed without it.
	Actions bool
	// Reload loads the configuration again, and returns when that is done; ctx does not end when who
	// has asked for it goes away. An error leaves everything as it was.
	Reload func(ctx context.Context) (Report, error)
	// Drain has the process drain and end. It does not wait for that.
	Drain func()
	// Endpoint does what the operator asks for: drain, undrain or uneject. The error may be
	// upstream.ErrNoEndpoint or ErrNoService.
	Endpoint func(service, id, action string) error
	// Metrics answers a scrape.
	Metrics http.Handler
	// Profiling adds /debug/pprof/. It is off by default: a profile costs CPU, and shows what
	// is in memory.
	Profiling bool
	// Log may be nil.
	Log *zap.Logger
}

// A Server answers on one address. Start and Shutdown are called once, in this order.
type Server struct {
	options Options
	log     *zap.Logger
	http    *http.Server

	page      *page // nil without Status
	broadcast *broadcast

	connections atomic.Int64
	large       chan struct{} // has an element for each large answer that is under way

	socket *socket       // set by Start
	done   chan struct{} // closed when serve has ended
}

// New makes a Server that does not listen yet.
func New(o Options) *Server {
	if o.Listen == "" {
		o.Listen = DefaultAddress
	}
	s := &Server{options: o, log: o.Log, done: make(chan struct{}), large: make(chan struct{}, maxLarge)}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.broadcast = newBroadcast(s.event, s.log)
	if o.Status != nil {
		s.page = newPage()
	}
	// What net/http has to say is a handler that panicked, or a failure to accept.
	complaints, err := zap.NewStdLogAt(s.log, zap.WarnLevel)
	if err != nil {
		complaints = zap.NewStdLog(s.log)
	}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          complaints,
		ConnContext:       withPeer,
		ConnState:         s.counted,
		// No WriteTimeout: a profile takes as long as it was asked to. bounded sets a
		// deadline for all other answers.
	}
	return s
}

// counted closes connections that are too many.
func (s *Server) counted(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.connections.Add(1) > maxConnections {
			_ = c.Close() // its own goroutine notices
		}
	case http.StateClosed, http.StateHijacked:
		s.connections.Add(-1)
	}
}

// inTurn has few answers made and read at once.
func (s *Server) inTurn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(largePatience)
		defer timer.Stop()
		select {
		case s.large <- struct{}{}:
		case <-r.Context().Done():
			return
		case <-timer.C:
			w.Header().Set("Retry-After", "10")
			s.write(w, http.StatusServiceUnavailable, typeText, []byte("as many answers are being read already as may; ask again\n"))
			return
		}
		defer func() { <-s.large }()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // not of the time that it has waited
		next(w, r)
	}
}

// Start opens the address and begins to answer, on a goroutine that Shutdown ends. The error
// says what stands in the way and which key moves the address. ctx bounds the opening only.
func (s *Server) Start(ctx context.Context) error {
	opened, err := adopt(s.options.Listener)
	if opened == nil && err == nil {
		opened, err = listen(ctx, s.options.Listen)
	}
	if err != nil {
		return err
	}
	s.socket = opened
	if tcp, ok := opened.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		s.log.Warn("admin is reachable from other hosts; set admin.listen to 127.0.0.1 or a unix socket",
			zap.String("listen", opened.address()))
	}
	go s.serve()
	return nil
}

func (s *Server) serve() {
	defer close(s.done)
	if err := s.http.Serve(s.socket); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("admin stopped answering", zap.String("listen", s.Address()), zap.Error(err))
	}
}

// Address is where the Server listens, in the form that Client takes: the port is the real
// one where port 0 was asked for. Before Start it is the configured one.
func (s *Server) Address() string {
	if s.socket == nil {
		return s.options.Listen
	}
	return s.socket.address()
}

// Shutdown stops listening, lets answers that are being written finish until ctx ends, and
// cuts the rest. When it returns the address is free, a unix socket is removed, and nothing
// is accepted any more; a callback that hangs may outlive it, and is named by the error.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.socket == nil {
		return nil
	}
	s.broadcast.end() // they would listen for ever
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("admin: answers were cut: %w", errors.Join(err, s.http.Close()))
	}
	if e := s.broadcast.wait(ctx); e != nil && err == nil {
		err = fmt.Errorf("admin: the status is still being made: %w", e)
	}
	<-s.done
	s.socket.remove()
	return err
}
