package healthcheck

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// serveGRPC serves on l what register puts into a server.
func serveGRPC(t *testing.T, l net.Listener, register func(*grpc.Server)) {
	t.Helper()
	s := grpc.NewServer()
	register(s)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func local(t *testing.T) net.Listener { return listen(t, "tcp", "127.0.0.1:0") }

func TestGRPCStatusOfAService(t *testing.T) {
	h := health.NewServer()
	h.SetServingStatus("orders", healthpb.HealthCheckResponse_SERVING)
	h.SetServingStatus("sick", healthpb.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("new", healthpb.HealthCheckResponse_UNKNOWN)
	h.SetServingStatus("odd", healthpb.HealthCheckResponse_SERVICE_UNKNOWN)
	h.SetServingStatus("later version", 17)
	l := local(t)
	serveGRPC(t, l, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, h) })
	for service, want := range map[string]string{
		"":              "",
		"orders":        "",
		"sick":          "grpc health: NOT_SERVING",
		"new":           "grpc health: UNKNOWN",
		"odd":           `grpc health: service "odd" is unknown`,
		"later version": "grpc health: 17",
		"payments":      `grpc health: service "payments" is unknown`,
	} {
		wantResult(t, GRPC(GRPCOptions{Service: service}).Probe(t.Context(), l.Addr().String()), want)
	}
	p := GRPC(GRPCOptions{})
	h.Shutdown()
	wantResult(t, p.Probe(t.Context(), l.Addr().String()), "grpc health: NOT_SERVING")
	h.Resume()
	wantResult(t, p.Probe(t.Context(), l.Addr().String()), "")
}

// A doctor answers Check as a test says.
type doctor struct {
	healthpb.UnimplementedHealthServer
	check func(context.Context) (*healthpb.HealthCheckResponse, error)
}

func (d doctor) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return d.check(ctx)
}

func (d doctor) register(s *grpc.Server) { healthpb.RegisterHealthServer(s, d) }

func TestGRPCErrorsInWords(t *testing.T) {
	fails := func(c codes.Code, message string) func(*grpc.Server) {
		return doctor{check: func(context.Context) (*healthpb.HealthCheckResponse, error) {
			return nil, status.Error(c, message)
		}}.register
	}
	for name, test := range map[string]struct {
		register func(*grpc.Server)
		want     string
	}{
		"no such method":    {func(*grpc.Server) {}, "the server has no health service"},
		"not implemented":   {fails(codes.Unimplemented, "later"), "the server has no health service"},
		"whole not known":   {fails(codes.NotFound, ""), "the server does not know its health as a whole, only that of services"},
		"unavailable":       {fails(codes.Unavailable, "no database\nnor cache"), "Unavailable: no database"},
		"denied":            {fails(codes.PermissionDenied, "who are you?"), "PermissionDenied: who are you?"},
		"without a message": {fails(codes.Internal, ""), "Internal"},
		"its own deadline":  {fails(codes.DeadlineExceeded, "database"), "DeadlineExceeded: database"},
		"long message":      {fails(codes.Aborted, strings.Repeat("é", 1000)), "Aborted: " + strings.Repeat("é", maxReasonBytes/2)},
		"message cut in a letter": {fails(codes.Aborted, "-"+strings.Repeat("é", 1000)),
			"Aborted: -" + strings.Repeat("é", maxReasonBytes/2-1)},
	} {
		t.Run(name, func(t *testing.T) {
			l := local(t)
			serveGRPC(t, l, test.register)
			wantResult(t, GRPC(GRPCOptions{}).Probe(t.Context(), l.Addr().String()), "grpc health: "+test.want)
		})
	}
}

// What is too long is refused, by the client or, because it says so, by the server.
func TestGRPCReadsAtMost64KiB(t *testing.T) {
	message := func(length int) func(context.Context) (*healthpb.HealthCheckResponse, error) {
		return func(context.Context) (*healthpb.HealthCheckResponse, error) {
			r := &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}
			const later = 99 // a field that this version does not know
			r.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, later, protowire.BytesType), make([]byte, length)))
			return r, nil
		}
	}
	fields := func(length int) func(context.Context) (*healthpb.HealthCheckResponse, error) {
		return func(ctx context.Context) (*healthpb.HealthCheckResponse, error) {
			err := grpc.SetHeader(ctx, metadata.Pairs("x", strings.Repeat("x", length)))
			return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, err
		}
	}
	for name, test := range map[string]struct {
		check func(context.Context) (*healthpb.HealthCheckResponse, error)
		want  string
	}{
		"message":          {message(maxResponseBytes / 2), ""},
		"too long message": {message(maxResponseBytes), "grpc health: ResourceExhausted: "},
		"fields":           {fields(maxResponseBytes / 2), ""},
		"too long fields":  {fields(maxResponseBytes), "grpc health: Internal: "},
	} {
		t.Run(name, func(t *testing.T) {
			l := local(t)
			serveGRPC(t, l, doctor{check: test.check}.register)
			err := GRPC(GRPCOptions{}).Probe(t.Context(), l.Addr().String())
			if test.want == "" {
				wantResult(t, err, "")
			} else {
				wantError(t, err, test.want)
			}
		})
	}
}

func TestGRPCRequest(t *testing.T) {
	for name, test := range map[string]struct {
		network, authority, want string
	}{
		"the address":  {"tcp", "", "127.0.0.1:"},
		"a Unix one":   {"unix", "", "localhost"},
		"configured":   {"tcp", "orders.internal:80", "orders.internal:80"},
		"of a service": {"unix", "orders", "orders"},
	} {
		t.Run(name, func(t *testing.T) {
			l := local(t)
			address := l.Addr().String()
			if test.network == "unix" {
				path := filepath.Join(t.TempDir(), "s")
				l, address = listen(t, "unix", path), "unix:"+path
			}
			seen := make(chan metadata.MD, 1)
			serveGRPC(t, l, doctor{check: func(ctx context.Context) (*healthpb.HealthCheckResponse, error) {
				fields, _ := metadata.FromIncomingContext(ctx)
				seen <- fields
				return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
			}}.register)
			wantResult(t, GRPC(GRPCOptions{Authority: test.authority}).Probe(t.Context(), address), "")
			fields := <-seen
			if got := strings.Join(fields.Get(":authority"), " "); got != test.want && (test.want != "127.0.0.1:" || got != address) {
				t.Errorf("authority %q, want %q", got, test.want)
			}
			if got := strings.Join(fields.Get("user-agent"), " "); !strings.HasPrefix(got, userAgent+" ") {
				t.Errorf("user agent %q", got)
			}
		})
	}
}

func TestGRPCRefused(t *testing.T) {
	wantResult(t, GRPC(GRPCOptions{}).Probe(t.Context(), refusing(t)), "connect: connection refused")
	missing := "unix:" + filepath.Join(t.TempDir(), "s")
	wantResult(t, GRPC(GRPCOptions{}).Probe(t.Context(), missing), "connect: no such file or directory")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, GRPC(GRPCOptions{}).Probe(ended, local(t).Addr().String()), "connect: ")
}

// serveRaw hands the first connection to handler, and waits for it at the end of the test.
// It closes the connection, and fails the test if there is another one.
func serveRaw(t *testing.T, handler func(net.Conn)) string {
	t.Helper()
	l := local(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		handler(conn)
		_ = conn.Close()
		if conn, err := l.Accept(); err == nil {
			t.Error("a second connection")
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return l.Addr().String()
}

// speaks reads the preface and sends settings; then then goes on.
func speaks(then func(conn net.Conn, f *http2.Framer)) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
		f := http2.NewFramer(conn, conn)
		_ = f.WriteSettings()
		then(conn, f)
	}
}

// untilHeaders reads frames up to a request's fields and returns its stream.
func untilHeaders(f *http2.Framer) uint32 {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return 0
		}
		if frame.Header().Type == http2.FrameHeaders {
			return frame.Header().StreamID
		}
	}
}

func TestGRPCServersThatAreNone(t *testing.T) {
	for name, test := range map[string]struct {
		handler func(net.Conn)
		want    string
	}{
		"closes at once": {func(net.Conn) {}, "no HTTP/2 connection: "},
		"sends nonsense": {func(conn net.Conn) {
			_, _ = io.WriteString(conn, strings.Repeat("nonsense", 10))
			_, _ = io.Copy(io.Discard, conn)
		}, "no HTTP/2 connection: error reading server preface: "},
		"says goodbye": {speaks(func(conn net.Conn, f *http2.Framer) {
			untilHeaders(f)
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
			_, _ = io.Copy(io.Discard, conn) // the client closes: nothing of it is under way
		}), "Unavailable: the server closed the connection"},
		"closes after the request": {speaks(func(_ net.Conn, f *http2.Framer) {
			untilHeaders(f)
		}), "Unavailable: error reading from server: "},
		"refuses the stream": {speaks(func(conn net.Conn, f *http2.Framer) {
			for range 2 { // grpc tries this again, on the same connection
				_ = f.WriteRSTStream(untilHeaders(f), http2.ErrCodeRefusedStream)
			}
			_, _ = io.Copy(io.Discard, conn)
		}), "Unavailable: "},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := GRPC(GRPCOptions{}).Probe(ctx, serveRaw(t, test.handler))
			wantError(t, err, "grpc health: "+test.want)
		})
	}
}

// Which of the two a refused stream comes to is not in the hands of a test with a server.
func TestGRPCRefusedStreamInWords(t *testing.T) {
	for want, err := range map[string]error{
		"Unavailable: the server refused the stream": io.EOF,
		"Unavailable: stream terminated":             status.Error(codes.Unavailable, "stream terminated"),
	} {
		if got := (&grpcProber{}).describe(err, true); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestGRPCOfAnHTTPServer(t *testing.T) {
	address := serve(t, http.NotFound)
	wantError(t, GRPC(GRPCOptions{}).Probe(t.Context(), address), "grpc health: no HTTP/2 connection: ")
}

// Whatever a server leaves out, a probe ends soon after its context, and its connection is
// closed then.
func TestGRPCSilentServers(t *testing.T) {
	for name, handler := range map[string]func(func()) func(net.Conn){
		"says nothing": func(cancel func()) func(net.Conn) {
			return func(conn net.Conn) {
				_, _ = io.ReadFull(conn, make([]byte, len(http2.ClientPreface)))
				cancel()
				_, _ = io.Copy(io.Discard, conn)
			}
		},
		"says nothing and reads nothing": func(cancel func()) func(net.Conn) {
			return func(conn net.Conn) {
				cancel()
				_, _ = io.Copy(io.Discard, conn)
			}
		},
		"does not answer": func(cancel func()) func(net.Conn) {
			return speaks(func(conn net.Conn, f *http2.Framer) {
				untilHeaders(f)
				cancel()
				_, _ = io.Copy(io.Discard, conn)
			})
		},
		"sends pings for ever": func(cancel func()) func(net.Conn) {
			return speaks(func(_ net.Conn, f *http2.Framer) {
				untilHeaders(f)
				for n := 0; ; n++ {
					if err := f.WritePing(false, [8]byte{}); err != nil {
						return
					}
					if n == 1000 {
						cancel()
					}
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := GRPC(GRPCOptions{}).Probe(ctx, serveRaw(t, handler(cancel)))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Without this wait a transport outlives the probe now and then, too seldom to see from outside.
func TestGRPCWaitsForTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer func() { _ = theirs.Close() }()
		only := &onlyConn{conn: ours, ended: make(chan struct{})}
		if conn, err := only.take(t.Context(), ""); conn != ours || err != nil {
			t.Fatalf("got %v, %v", conn, err)
		}
		only.HandleConn(t.Context(), &stats.ConnBegin{})
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			only.end()
		}()
		synctest.Wait()
		select {
		case <-returned:
			t.Error("does not wait")
		default:
		}
		if _, err := theirs.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is open")
		}
		only.HandleConn(t.Context(), &stats.ConnEnd{})
		<-returned
	})
}

func TestGRPCGetsNoConnectionAfterTheEnd(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	only := &onlyConn{conn: ours, ended: make(chan struct{})}
	only.end() // nobody has the connection: there is nothing to wait for
	if conn, err := only.take(t.Context(), ""); err == nil {
		t.Errorf("got %v", conn)
	}
}
