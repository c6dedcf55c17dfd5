package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// GRPCOptions say what a gRPC probe asks for.
type GRPCOptions struct {
	Transport Transport
	// Service is whose health is asked for; if empty, that of the server as a whole.
	Service string
	// Authority is the request's :authority field; the address if empty, "localhost" for a
	// Unix socket.
	Authority string
}

// GRPC returns a Prober that calls Check of grpc.health.v1 over a connection of its own, in
// HTTP/2, and passes on SERVING. It reads at most 64 KiB of the answer.
//
// The protocol is https://github.com/grpc/grpc/blob/master/doc/health-checking.md.
func GRPC(o GRPCOptions) Prober { return &grpcProber{o} }

type grpcProber struct{ options GRPCOptions }

// Probe connects itself, so that a refused connection or handshake reads as with the other
// probers, and so that grpc has one connection and cannot make another.
func (g *grpcProber) Probe(ctx context.Context, address string) error {
	l, err := g.options.Transport.connect(ctx, address, []string{"h2"})
	if err != nil {
		return err
	}
	defer l.interruptedBy(ctx, func() { _ = l.raw.Close() })()
	only := &onlyConn{conn: l, ended: make(chan struct{})}
	client, err := grpc.NewClient("passthrough:///endpoint", g.dialOptions(address, only)...)
	if err != nil {
		only.end()
		return fmt.Errorf("grpc health: %w", err)
	}
	answer, err := healthpb.NewHealthClient(client).Check(ctx,
		&healthpb.HealthCheckRequest{Service: g.options.Service}, grpc.MaxCallRecvMsgSize(maxResponseBytes))
	_ = client.Close()
	only.end()
	switch {
	case err == nil:
		return g.judge(answer.GetStatus())
	case ctx.Err() != nil:
		return fmt.Errorf("grpc health: %w", ctx.Err())
	default:
		return l.why(&probeError{"grpc health: " + g.describe(err, only.asked.Load()), err})
	}
}

// dialOptions leave of grpc's client what one call needs: no name resolution, service
// config, proxy, retries, keep-alive, idling or measuring of bandwidth.
func (g *grpcProber) dialOptions(address string, only *onlyConn) []grpc.DialOption {
	const windowBytes, bufferBytes = 1<<16 - 1, 4 << 10
	const never = 24 * time.Hour
	return []grpc.DialOption{
		grpc.WithContextDialer(only.take),
		grpc.WithStatsHandler(only),
		grpc.WithTransportCredentials(g.credentials()),
		grpc.WithAuthority(hostField(g.options.Authority, address)),
		grpc.WithUserAgent(userAgent),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			// Only the context says how long the server may take to speak HTTP/2 …
			MinConnectTimeout: never,
			// … and a second attempt would hide why the first one failed.
			Backoff: backoff.Config{BaseDelay: never, MaxDelay: never},
		}),
		grpc.WithMaxHeaderListSize(maxResponseBytes),
		grpc.WithStaticConnWindowSize(windowBytes),
		grpc.WithStaticStreamWindowSize(windowBytes),
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithWriteBufferSize(bufferBytes),
	}
}

// credentials leave a connection as it is: its handshake has ended. What they say of
// themselves makes the scheme of the request.
func (g *grpcProber) credentials() credentials.TransportCredentials {
	if g.options.Transport.TLS == nil {
		return insecure.NewCredentials()
	}
	return shaken{insecure.NewCredentials()}
}

type shaken struct {
	credentials.TransportCredentials
}

func (shaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (s shaken) Clone() credentials.TransportCredentials { return s }

// judge takes what the server said about the service.
func (g *grpcProber) judge(s healthpb.HealthCheckResponse_ServingStatus) error {
	switch s {
	case healthpb.HealthCheckResponse_SERVING:
		return nil
	case healthpb.HealthCheckResponse_SERVICE_UNKNOWN:
		return &probeError{text: "grpc health: " + g.unknown()}
	default:
		return &probeError{text: "grpc health: " + s.String()}
	}
}

// describe says why there was no answer to judge. Asked tells whether the question was sent.
func (g *grpcProber) describe(err error, asked bool) string {
	if errors.Is(err, io.EOF) {
		// Now and then grpc says no more of a stream that is refused twice: it sends again
		// what was not taken, and the second refusal overtakes that.
		return codes.Unavailable.String() + ": the server refused the stream"
	}
	s := status.Convert(err)
	text := s.Message()
	// What grpc says of a connection comes quoted.
	if quoted, ok := strings.CutPrefix(text, "connection error: desc = "); ok {
		if unquoted, err := strconv.Unquote(quoted); err == nil {
			text = unquoted
		}
	}
	text = firstLine(strings.TrimPrefix(text, "transport: Error while dialing: "))
	switch {
	case !asked:
		return "no HTTP/2 connection: " + text
	case s.Code() == codes.NotFound:
		return g.unknown()
	case s.Code() == codes.Unimplemented:
		return "the server has no health service"
	case text == "":
		return s.Code().String()
	default:
		return s.Code().String() + ": " + text
	}
}

func (g *grpcProber) unknown() string {
	if g.options.Service == "" {
		return "the server does not know its health as a whole, only that of services"
	}
	return fmt.Sprintf("service %q is unknown", g.options.Service)
}

// An onlyConn hands one connection to grpc and waits until grpc is done with it. The client's
// Close alone does not: it leaves behind an attempt that waits for the server's first frame,
// and a transport that is closing because the server closed. The goroutine that began a failed
// attempt tells nobody when it ends; after Close it has nothing left to do but return.
type onlyConn struct {
	conn  net.Conn
	asked atomic.Bool   // a request has been sent
	ended chan struct{} // closed when the transport's goroutines have ended

	mu    sync.Mutex
	taken bool
}

// take is grpc's dialer. It is called again after the connection has broken.
func (o *onlyConn) take(context.Context, string) (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.taken {
		return nil, errors.New("the server closed the connection")
	}
	o.taken = true
	return o.conn, nil
}

// end closes the connection and waits. With credentials that do nothing and no keep-alive, whoever
// takes the connection begins a transport, and a transport whose connection is closed ends.
func (o *onlyConn) end() {
	_ = o.conn.Close()
	o.mu.Lock()
	taken := o.taken
	o.taken = true
	o.mu.Unlock()
	if taken {
		<-o.ended
	}
}

// HandleConn hears of the transport's end.
func (o *onlyConn) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		close(o.ended)
	}
}

// HandleRPC hears of the request.
func (o *onlyConn) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutHeader); ok {
		o.asked.Store(true)
	}
}

// TagConn and TagRPC make a stats.Handler of it.
func (o *onlyConn) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC is there for the same reason.
func (o *onlyConn) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
