package e2e

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The methods of a grpcServer. To gRPC all are streams; a unary one has one message each way.
const (
	methodEcho  = "/e2e.Calls/Echo"  // unary: answers with the message
	methodStand = "/e2e.Calls/Stand" // unary: answers when hold is closed, or the client has gone
	methodSum   = "/e2e.Calls/Sum"   // client streaming: how many bytes all messages have
	methodCount = "/e2e.Calls/Count" // server streaming: as many messages as the request's number says
	methodTalk  = "/e2e.Calls/Talk"  // bidirectional: each message comes back before the next is read
)

// A grpcServer is grpc-go's own server inside this process, one instance of a service.
type grpcServer struct {
	name    string
	address string
	served  atomic.Int64 // calls
	gone    atomic.Int64 // calls that ended because the client did not want them any more
	code    atomic.Int64 // the status with which Echo ends, behind its head; 0: OK
	health  *health.Server

	hold  chan struct{}                // holds back Stand
	calls chan *grpcCall               // gets each call of Stand and Talk
	grpc  atomic.Pointer[grpcListener] // where it listens now
}

// A grpcCall is what a server has seen of a call.
type grpcCall struct {
	grpc.ServerStream
	asked metadata.MD
}

// A grpcListener is a listener that can be torn down with its connections.
type grpcListener struct {
	net.Listener
	server *grpc.Server
	ended  chan struct{}

	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (l *grpcListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		c.Close()
		return nil, net.ErrClosed
	}
	l.conns = append(l.conns, c)
	return c, nil
}

// accepted is how many connections there have been.
func (l *grpcListener) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// serveGRPC starts a server on a port that the system chooses.
func serveGRPC(t *testing.T, name string, options ...grpc.ServerOption) *grpcServer {
	t.Helper()
	g := &grpcServer{name: name, health: health.NewServer(), hold: make(chan struct{}), calls: make(chan *grpcCall, 2048)}
	g.listen(t, "127.0.0.1:0", options...)
	t.Cleanup(func() { g.die() })
	return g
}

// serveGRPCs starts several.
func serveGRPCs(t *testing.T, names ...string) (all []*grpcServer, addresses []string) {
	t.Helper()
	for _, name := range names {
		g := serveGRPC(t, name)
		all, addresses = append(all, g), append(addresses, g.address)
	}
	return all, addresses
}

// listen has it serve on an address, also again after it died or was stopped.
func (g *grpcServer) listen(t *testing.T, address string, options ...grpc.ServerOption) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	g.address = ln.Addr().String()
	options = append(options, grpc.WaitForHandlers(true), grpc.MaxRecvMsgSize(64<<20))
	l := &grpcListener{Listener: ln, server: grpc.NewServer(options...), ended: make(chan struct{})}
	l.server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "e2e.Calls",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			{StreamName: "Echo", Handler: g.handle((*grpcServer).echo)},
			{StreamName: "Stand", Handler: g.handle((*grpcServer).stand)},
			{StreamName: "Sum", Handler: g.handle((*grpcServer).sum), ClientStreams: true},
			{StreamName: "Count", Handler: g.handle((*grpcServer).count), ServerStreams: true},
			{StreamName: "Talk", Handler: g.handle((*grpcServer).talk), ClientStreams: true, ServerStreams: true},
		},
	}, g)
	healthpb.RegisterHealthServer(l.server, g.health)
	g.grpc.Store(l)
	go func() {
		defer close(l.ended)
		_ = l.server.Serve(l) // until it is closed
	}()
}

// die ends it as SIGKILL does: the system closes its sockets under it, whatever it is doing,
// and the address refuses from then on.
func (g *grpcServer) die() {
	l := g.grpc.Load()
	l.mu.Lock()
	l.dead = true
	l.Listener.Close()
	for _, c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()
	l.server.Stop()
	<-l.ended
}

// leave ends it as servers that are restarted end: it says GOAWAY, and goes when its calls have
// ended.
func (g *grpcServer) leave() {
	l := g.grpc.Load()
	l.server.GracefulStop()
	<-l.ended
}

// handle makes a handler of a method. Every answer names the server in its head, but one that
// is asked to be brief: it would make two of the head and the status.
func (g *grpcServer) handle(method func(*grpcServer, *grpcCall) error) grpc.StreamHandler {
	return func(_ any, s grpc.ServerStream) error {
		g.served.Add(1)
		asked, _ := metadata.FromIncomingContext(s.Context())
		if len(asked.Get("brief")) == 0 {
			if err := s.SetHeader(metadata.Pairs(originHeader, g.name)); err != nil {
				return err
			}
		}
		return method(g, &grpcCall{s, asked})
	}
}

// echo gives back in the head, and in the trailers, what it was asked with for that. Asked to be
// brief, it fails with a head only.
func (g *grpcServer) echo(c *grpcCall) error {
	m := new(wrapperspb.BytesValue)
	if err := c.RecvMsg(m); err != nil {
		return err
	}
	code := codes.Code(g.code.Load())
	if code != codes.OK && len(c.asked.Get("brief")) > 0 {
		return status.Error(code, "as it was told")
	}
	head, trailer := metadata.MD{}, metadata.MD{}
	for name, values := range c.asked {
		switch name {
		case "head", "head-bin":
			head[name] = values
		case "tail", "tail-bin":
			trailer[name] = values
		}
	}
	c.SetTrailer(trailer)
	if err := c.SendHeader(head); err != nil {
		return err
	}
	if code != codes.OK {
		return status.Error(code, "as it was told")
	}
	if names := c.asked.Get("fail"); len(names) > 0 {
		s, err := status.New(codes.FailedPrecondition, "ünable: 100 %").WithDetails(wrapperspb.String(names[0]))
		if err != nil {
			return err
		}
		return s.Err()
	}
	return c.SendMsg(m)
}

func (g *grpcServer) stand(c *grpcCall) error {
	m := new(wrapperspb.BytesValue)
	if err := c.RecvMsg(m); err != nil {
		return err
	}
	g.calls <- c
	select {
	case <-g.hold:
		return c.SendMsg(m)
	case <-c.Context().Done():
		g.gone.Add(1)
		return status.FromContextError(c.Context().Err()).Err()
	}
}

func (g *grpcServer) sum(c *grpcCall) error {
	for total := 0; ; {
		m := new(wrapperspb.BytesValue)
		err := c.RecvMsg(m)
		switch {
		case err == nil:
			total += len(m.Value)
		case errors.Is(err, io.EOF):
			return c.SendMsg(wrapperspb.Bytes(strconv.AppendInt(nil, int64(total), 10)))
		default:
			return err
		}
	}
}

func (g *grpcServer) count(c *grpcCall) error {
	m := new(wrapperspb.BytesValue)
	if err := c.RecvMsg(m); err != nil {
		return err
	}
	n, err := strconv.Atoi(string(m.Value))
	for i := 0; i < n && err == nil; i++ {
		err = c.SendMsg(wrapperspb.Bytes(strconv.AppendInt(nil, int64(i), 10)))
	}
	return err
}

func (g *grpcServer) talk(c *grpcCall) error {
	g.calls <- c
	for {
		m := new(wrapperspb.BytesValue)
		err := c.RecvMsg(m)
		if err == nil {
			err = c.SendMsg(m)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			g.gone.Add(1)
			return err
		}
	}
}

// next is the next call of Stand or Talk.
func (g *grpcServer) next(t *testing.T) *grpcCall {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case c := <-g.calls:
		return c
	case <-timer.C:
		t.Fatal("no call has come to the server")
		return nil
	}
}

// dialGRPC is a client of grpc-go that has one connection.
func dialGRPC(t *testing.T, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	c, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
