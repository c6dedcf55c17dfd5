package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcCalls starts a server, a sidecar before it, and a client of the sidecar.
func grpcCalls(t *testing.T, more string) (*grpcServer, *sidecar, *grpc.ClientConn) {
	t.Helper()
	g := serveGRPC(t, "calls-1")
	s := serving(t, static("calls", more, g.address))
	return g, s, dialGRPC(t, s.address("calls"))
}

// lasting is the context of a call that has to end in time for the test to say why it has not.
func lasting(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// echo makes a unary call, and returns the server that has answered.
func echo(ctx context.Context, c *grpc.ClientConn, text string) (origin string, err error) {
	var head metadata.MD
	m := new(wrapperspb.BytesValue)
	if err := c.Invoke(ctx, methodEcho, wrapperspb.Bytes([]byte(text)), m, grpc.Header(&head)); err != nil {
		return "", err
	}
	if string(m.Value) != text {
		return "", fmt.Errorf("%q comes back as %q", text, m.Value)
	}
	if names := head.Get(originHeader); len(names) == 1 {
		origin = names[0]
	}
	return origin, nil
}

// A call is a stream of a client.
type call struct {
	t *testing.T
	grpc.ClientStream
}

// open begins a streaming call.
func open(ctx context.Context, t *testing.T, c *grpc.ClientConn, method string) call {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	return call{t, s}
}

func (c call) say(text string) {
	c.t.Helper()
	if err := c.SendMsg(wrapperspb.Bytes([]byte(text))); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c call) hear() (string, error) {
	m := new(wrapperspb.BytesValue)
	err := c.RecvMsg(m)
	return string(m.Value), err
}

// wantHear wants a message, and nothing else.
func (c call) wantHear(want string) {
	c.t.Helper()
	if got, err := c.hear(); err != nil || got != want {
		c.t.Fatalf("received %q, %v, want %q", got, err, want)
	}
}

// wantEnd wants the call to end in order, without a further message.
func (c call) wantEnd() {
	c.t.Helper()
	if got, err := c.hear(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("received %q, %v, want the end", got, err)
	}
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%v: %v, want %v", err, got, want)
	}
}

func TestGRPCUnaryAndStreams(t *testing.T) {
	t.Parallel()
	_, _, c := grpcCalls(t, "")
	ctx := lasting(t)
	if origin, err := echo(ctx, c, "hello"); err != nil || origin != "calls-1" {
		t.Errorf("%q, %v", origin, err)
	}
	if _, err := echo(ctx, c, ""); err != nil {
		t.Errorf("an empty message: %v", err)
	}

	sum, want := open(ctx, t, c, methodSum), 0
	for i := range 100 {
		sum.say(string(make([]byte, i*100)))
		want += i * 100
	}
	if err := sum.CloseSend(); err != nil {
		t.Fatal(err)
	}
	sum.wantHear(strconv.Itoa(want))
	sum.wantEnd()

	count := open(ctx, t, c, methodCount)
	count.say("1000")
	if err := count.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		count.wantHear(strconv.Itoa(i))
	}
	count.wantEnd()

	// Nothing waits for more: each message is answered before the next is sent.
	talk := open(ctx, t, c, methodTalk)
	for i := range 200 {
		talk.say(fmt.Sprint("message ", i))
		talk.wantHear(fmt.Sprint("message ", i))
	}
	if err := talk.CloseSend(); err != nil {
		t.Fatal(err)
	}
	talk.wantEnd()
}

// The head of an answer comes before its first message does, as a client may wait for it.
func TestGRPCPassesTheHeadBeforeAMessage(t *testing.T) {
	t.Parallel()
	g, _, c := grpcCalls(t, "")
	talk := open(lasting(t), t, c, methodTalk)
	if err := g.next(t).SendHeader(metadata.Pairs("early", "yes")); err != nil {
		t.Fatal(err)
	}
	if head, err := talk.Header(); err != nil || !slices.Equal(head.Get("early"), []string{"yes"}) {
		t.Errorf("%v, %v", head, err)
	}
	talk.say("x")
	talk.wantHear("x")
}

func TestGRPCMetadataAndTrailers(t *testing.T) {
	t.Parallel()
	_, _, c := grpcCalls(t, "")
	binary := string([]byte{0, 1, 255, 10, 13})
	ctx := metadata.AppendToOutgoingContext(lasting(t),
		"head", "one", "head", "two, with a comma", "head-bin", binary,
		"tail", "last", "tail-bin", binary)
	var head, trailer metadata.MD
	if err := c.Invoke(ctx, methodEcho, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue), grpc.Header(&head), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"head": {"one", "two, with a comma"}, "head-bin": {binary}} {
		if got := head.Get(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string][]string{"tail": {"last"}, "tail-bin": {binary}} {
		if got := trailer.Get(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestGRPCErrorsArriveWithTheirDetails(t *testing.T) {
	t.Parallel()
	_, _, c := grpcCalls(t, "")
	_, err := echo(metadata.AppendToOutgoingContext(lasting(t), "fail", "the reason"), c, "x")
	s := status.Convert(err)
	if s.Code() != codes.FailedPrecondition || s.Message() != "ünable: 100 %" {
		t.Errorf("%v", err)
	}
	if d := s.Details(); len(d) != 1 || d[0].(*wrapperspb.StringValue).GetValue() != "the reason" {
		t.Errorf("details: %v", d)
	}
	err = c.Invoke(lasting(t), "/e2e.Calls/Nothing", wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
	wantCode(t, err, codes.Unimplemented)
}

// A server is told how much of its client's time is left, and a client how it has ended.
func TestGRPCDeadlines(t *testing.T) {
	t.Parallel()
	g, s, c := grpcCalls(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	talk := open(ctx, t, c, methodTalk)
	by, ok := g.next(t).Context().Deadline()
	if left := time.Until(by); !ok || left > time.Hour || left < 50*time.Minute {
		t.Errorf("of an hour %v is left to the server (%v)", left, ok)
	}
	talk.say("x")
	talk.wantHear("x")

	within(t, patience, "a server has given up what its client does not wait for", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := c.Invoke(ctx, methodStand, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
		wantCode(t, err, codes.DeadlineExceeded)
		return g.gone.Load() > 0 // if the call has come to it in time
	})
	within(t, patience, "only the first call is in flight", func() bool { return s.endpoint("calls", g.address).InFlight == 1 })
	if n := s.endpoint("calls", g.address).Counters.Resets; n != 0 {
		t.Errorf("%d resets are held against the server", n)
	}
}

func TestGRPCCancellation(t *testing.T) {
	t.Parallel()
	g, s, c := grpcCalls(t, "")
	for _, method := range []string{methodTalk, methodStand} {
		ctx, cancel := context.WithCancel(t.Context())
		x := open(ctx, t, c, method)
		x.say("x")
		if method == methodTalk {
			x.wantHear("x")
		} else if err := x.CloseSend(); err != nil {
			t.Fatal(err)
		}
		at := g.next(t)
		cancel()
		_, err := x.hear()
		wantCode(t, err, codes.Canceled)
		within(t, patience, "the server's call has ended", func() bool { return at.Context().Err() != nil })
	}
	within(t, patience, "nothing is in flight", func() bool { return s.endpoint("calls", g.address).InFlight == 0 })
	if n := s.endpoint("calls", g.address).Counters.Failures(); n != 0 {
		t.Errorf("%d failures are held against the server", n)
	}
	if l := g.grpc.Load(); l.accepted() > 2 {
		t.Errorf("%d connections for two calls", l.accepted())
	}
	if _, err := echo(lasting(t), c, "still there"); err != nil {
		t.Error(err)
	}
}

func TestGRPCMessagesOf10MB(t *testing.T) {
	t.Parallel()
	_, _, c := grpcCalls(t, "")
	rnd := rand.NewChaCha8([32]byte{1})
	var all sync.WaitGroup
	for range 4 {
		message := make([]byte, 10<<20)
		_, _ = rnd.Read(message) // never fails
		all.Go(func() {
			m := new(wrapperspb.BytesValue)
			if err := c.Invoke(lasting(t), methodEcho, wrapperspb.Bytes(message), m); err != nil || !bytes.Equal(m.Value, message) {
				t.Errorf("%d bytes come back, %v", len(m.Value), err)
			}
		})
	}
	all.Wait()
}

// All of them are open at once, on one connection.
func TestGRPC1000StreamsOnOneConnection(t *testing.T) {
	t.Parallel()
	const streams = 1000
	g, s, c := grpcCalls(t, "http2.max_streams = 1000")
	ctx := lasting(t)
	var all []call
	for range streams {
		all = append(all, open(ctx, t, c, methodTalk))
	}
	for i, x := range all {
		x.say(strconv.Itoa(i))
	}
	for range streams {
		g.next(t)
	}
	within(t, patience, "all are in flight", func() bool { return s.endpoint("calls", g.address).InFlight == streams })
	for i, x := range all {
		x.wantHear(strconv.Itoa(i))
		x.say("again")
		if err := x.CloseSend(); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range all {
		x.wantHear("again")
		x.wantEnd()
	}
	t.Logf("%d connections to the server", g.grpc.Load().accepted())
	within(t, patience, "nothing is in flight", func() bool { return s.endpoint("calls", g.address).InFlight == 0 })
}

func TestTheHealthClientOfGRPC(t *testing.T) {
	t.Parallel()
	g, _, c := grpcCalls(t, "")
	health := healthpb.NewHealthClient(c)
	watch, err := health.Watch(lasting(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		g.health.SetServingStatus("", want)
		if got, err := watch.Recv(); err != nil || got.GetStatus() != want {
			t.Errorf("watch: %v, %v, want %v", got, err, want)
		}
		if got, err := health.Check(lasting(t), &healthpb.HealthCheckRequest{}); err != nil || got.GetStatus() != want {
			t.Errorf("check: %v, %v, want %v", got, err, want)
		}
	}
	_, err = health.Check(lasting(t), &healthpb.HealthCheckRequest{Service: "unknown"})
	wantCode(t, err, codes.NotFound)
}
