package e2e

import (
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
)

// Who drains says GOAWAY at once, and lets what is running end.
func TestSIGTERMLetsStreamsOfGRPCEnd(t *testing.T) {
	t.Parallel()
	g, s, c := grpcCalls(t, "")
	talk, stand := open(lasting(t), t, c, methodTalk), open(lasting(t), t, c, methodStand)
	g.next(t)
	talk.say("before")
	talk.wantHear("before")
	stand.say("patient")
	if err := stand.CloseSend(); err != nil {
		t.Fatal(err)
	}
	g.next(t)
	if c.GetState() != connectivity.Ready {
		t.Fatalf("the connection is %v", c.GetState())
	}
	unused := connect(t, s.address("calls"))
	s.signal(syscall.SIGTERM)
	waitDraining(t, s)
	within(t, patience, "the client has its GOAWAY", func() bool { return c.GetState() != connectivity.Ready })
	if _, err := unused.Read(make([]byte, 1)); err == nil {
		t.Error("a connection without a request says something")
	}
	_, err := echo(lasting(t), c, "x")
	wantCode(t, err, codes.Unavailable)
	talk.say("after")
	talk.wantHear("after")
	if s.ended() {
		t.Fatal("it has ended with calls under way")
	}
	close(g.hold)
	stand.wantHear("patient")
	stand.wantEnd()
	if err := talk.CloseSend(); err != nil {
		t.Fatal(err)
	}
	talk.wantEnd()
	if end := s.wait(); end.ExitCode() != 0 {
		t.Errorf("it ended with %v", end)
	}
	if lacking(s.err.String(), []string{"drained: nothing was cut"}) != "" {
		t.Error("the log does not say that nothing was cut")
	}
}

// What takes longer than runtime.drain is cut, and no client takes it for a whole answer.
func TestAStreamOfGRPCThatTakesLongerThanTheDrainIsCut(t *testing.T) {
	t.Parallel()
	g := serveGRPC(t, "calls-1")
	s := serving(t, static("calls", "", g.address), "SIDECAR_RUNTIME_DRAIN=50ms")
	talk := open(lasting(t), t, dialGRPC(t, s.address("calls")), methodTalk)
	talk.say("x")
	talk.wantHear("x")
	s.signal(syscall.SIGTERM)
	_, err := talk.hear()
	wantCode(t, err, codes.Unavailable)
	if end := s.wait(); end.ExitCode() != 0 {
		t.Errorf("it ended with %v", end)
	}
	within(t, patience, "the server's call has ended", func() bool { return g.gone.Load() == 1 })
}
