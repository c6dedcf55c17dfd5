package e2e

import (
	"cmp"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sidecar/upstream"
)

// grpcResponses is how many calls are counted, by their status.
func grpcResponses(t *testing.T, s *sidecar) map[string]float64 {
	t.Helper()
	by := map[string]float64{}
	for _, m := range metrics(t, s)["sidecar_grpc_responses_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "code" {
				by[l.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	return by
}

// wantOwn wants an error that the sidecar has made itself, and that says why.
func wantOwn(t *testing.T, err error, code codes.Code, why string) {
	t.Helper()
	wantCode(t, err, code)
	if text := status.Convert(err).Message(); !strings.HasPrefix(text, "sidecar: calls: ") || !strings.Contains(text, why) {
		t.Errorf("the error is %q, want %q in it", text, why)
	}
}

// What the sidecar itself has to say is said in gRPC's words.
func TestGRPCErrorsOfTheSidecarItself(t *testing.T) {
	t.Parallel()
	t.Run("no connection", func(t *testing.T) {
		t.Parallel()
		s := serving(t, static("calls", "", deadAddress(t)))
		_, err := echo(lasting(t), dialGRPC(t, s.address("calls")), "x")
		wantOwn(t, err, codes.Unavailable, "connection refused")
	})
	t.Run("no instance", func(t *testing.T) {
		t.Parallel()
		s := serving(t, static("calls", fastCheck+`balancer.panic = 0`, deadAddress(t)))
		s.waitState("calls", s.service("calls").Endpoints[0].Address, upstream.StateDown)
		_, err := echo(lasting(t), dialGRPC(t, s.address("calls")), "x")
		wantOwn(t, err, codes.Unavailable, "")
	})
	t.Run("timeout", func(t *testing.T) {
		t.Parallel()
		_, _, c := grpcCalls(t, `timeout.request = "200ms"`)
		err := c.Invoke(lasting(t), methodStand, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
		wantOwn(t, err, codes.DeadlineExceeded, "")
	})
	t.Run("over a limit", func(t *testing.T) {
		t.Parallel()
		g, _, c := grpcCalls(t, "limit.max_in_flight = 1")
		talk := open(lasting(t), t, c, methodTalk)
		g.next(t)
		_, err := echo(lasting(t), c, "x")
		wantOwn(t, err, codes.Unavailable, "limit.max_in_flight")
		talk.say("x")
		talk.wantHear("x")
	})
	t.Run("cut off", func(t *testing.T) {
		t.Parallel()
		g, s, c := grpcCalls(t, "")
		talk := open(lasting(t), t, c, methodTalk)
		talk.say("x")
		talk.wantHear("x")
		g.die()
		_, err := talk.hear()
		if err == nil {
			t.Fatal("half a stream looks like a whole one")
		}
		t.Logf("a stream whose server dies ends with %v", err)
		wantCode(t, err, codes.Unavailable)
		within(t, patience, "it counts as a stream without a status", func() bool { return grpcResponses(t, s)["missing"] == 1 })
		within(t, patience, "and against the server", func() bool { return s.endpoint("calls", g.address).Counters.Resets == 1 })
	})
}

// A status that stands in the trailers, behind an answer that began well, counts.
func TestGRPCAServerThatIsUnavailableIsEjected(t *testing.T) {
	t.Parallel()
	servers, at := serveGRPCs(t, "calls-1", "calls-2", "calls-3")
	s := serving(t, static("calls", `balancer.policy = "round_robin"
breaker = { consecutive_failures = 5, success_rate = 0, open = "1s", open_max = "1s" }`, at...))
	c, bad := dialGRPC(t, s.address("calls")), servers[0]
	bad.code.Store(int64(codes.Unavailable))
	failed := 0
	for range 300 {
		if _, err := echo(lasting(t), c, "x"); err != nil {
			wantCode(t, err, codes.Unavailable)
			failed++
		}
	}
	e := s.endpoint("calls", bad.address)
	if e.Counters.Ejections == 0 || e.Counters.ServerErrors < 5 {
		t.Errorf("it was not ejected: %+v", e.Counters)
	}
	if failed < 5 || failed > 60 {
		t.Errorf("%d of 300 calls failed", failed)
	}
	t.Logf("%d of 300 calls failed", failed)
	s.wantExplained("calls", bad.address, "ejected|probed|it fails", "grpc-status 14")
	if by := grpcResponses(t, s); by["14"] != float64(failed) || by["0"] != float64(300-failed) {
		t.Errorf("%v are counted, and %d failed", by, failed)
	}
	bad.code.Store(0)
	before := bad.served.Load()
	within(t, patience, "it is in use again", func() bool {
		_, err := echo(lasting(t), c, "x")
		return err == nil && bad.served.Load() > before+5
	})
}

// A status before any message is tried elsewhere, if the call may be made twice; one behind a
// head that has gone to the client is not.
func TestGRPCStatusesThatAreTriedAgain(t *testing.T) {
	t.Parallel()
	servers, at := serveGRPCs(t, "calls-1", "calls-2")
	s := serving(t, static("calls", `balancer.policy = "round_robin"
breaker = { consecutive_failures = 0, success_rate = 0 }
retry = { on = ["connect", "unavailable"], budget = 1.0 }`, at...))
	c, bad := dialGRPC(t, s.address("calls")), servers[0]
	bad.code.Store(int64(codes.Unavailable))
	for name, test := range map[string]struct {
		metadata []string
		fails    bool
	}{
		"may be repeated":             {[]string{"idempotency-key", "1", "brief", "yes"}, false},
		"may not be repeated":         {[]string{"brief", "yes"}, true},
		"fails behind a head":         {[]string{"idempotency-key", "1"}, true},
		"fails behind a head, no key": {nil, true},
	} {
		failed, before := 0, bad.served.Load()
		ctx := metadata.AppendToOutgoingContext(lasting(t), test.metadata...)
		for range 20 {
			if _, err := echo(ctx, c, "x"); err != nil {
				wantCode(t, err, codes.Unavailable)
				failed++
			}
		}
		asked := int(bad.served.Load() - before)
		if asked == 0 || test.fails && failed != asked || !test.fails && failed != 0 {
			t.Errorf("a call that %s: %d of 20 failed, and the bad server was asked %d times", name, failed, asked)
		}
	}
}

// What clients do wrong says nothing about a server.
func TestGRPCStatusesOfClientsEjectNobody(t *testing.T) {
	t.Parallel()
	g, s, c := grpcCalls(t, "breaker.consecutive_failures = 3")
	wrong := []codes.Code{codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.FailedPrecondition, codes.Aborted, codes.OutOfRange, codes.Unimplemented, codes.Unauthenticated, codes.Canceled}
	for _, code := range wrong {
		g.code.Store(int64(code))
		_, err := echo(lasting(t), c, "x")
		wantCode(t, err, code)
	}
	if n := s.endpoint("calls", g.address).Counters; n.Failures() != 0 || int(n.Successes) != len(wrong) {
		t.Errorf("%+v", n)
	}
}

// hurry makes a call whose time runs out, for which the client has no timer of its own: what is
// returned is what the sidecar says.
func hurry(t *testing.T, s *sidecar, timeout string) (code, message string) {
	t.Helper()
	req, err := http.NewRequestWithContext(lasting(t), http.MethodPost, "http://"+s.address("calls")+methodStand, strings.NewReader("\x00\x00\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Timeout": {timeout}}
	resp, err := h2Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	return cmp.Or(resp.Header.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Status")), cmp.Or(resp.Header.Get("Grpc-Message"), resp.Trailer.Get("Grpc-Message"))
}

// A client's time may run out at any place; it is told so, and never that the server is not there.
func TestGRPCADeadlineIsToldAsOne(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"while it connects": deafAddress(t), "while the server works": serveGRPC(t, "calls-1").address} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serving(t, static("calls", `timeout.connect = "1m"`, address))
			for _, timeout := range []string{"1n", "20m", "300m"} {
				// A server that has been told of the deadline may be the first to say so.
				if code, message := hurry(t, s, timeout); code != "4" || name == "while it connects" && !strings.HasPrefix(message, "sidecar: calls: ") {
					t.Errorf("after %s: grpc-status %q, %q", timeout, code, message)
				}
			}
		})
	}
}
