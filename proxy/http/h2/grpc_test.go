package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"sidecar/internal/eventloop"
)

const method = "/test.Echo/Echo"

var bidirectional = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// echoGRPC sends back each message, and metadata as trailers; a message "fail" ends the call
// with an error, and "hang" waits for the end of the client's patience.
func echoGRPC(_ any, s grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	s.SetTrailer(metadata.Pairs("x-back", firstOf(md.Get("x-to"))))
	for {
		m := new(wrapperspb.BytesValue)
		if err := s.RecvMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		switch string(m.Value) {
		case "fail":
			return status.Error(codes.DataLoss, "as asked")
		case "hang":
			<-s.Context().Done()
			return s.Context().Err()
		}
		if err := s.SendMsg(m); err != nil {
			return err
		}
	}
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// grpcPair is a client of grpc-go that reaches a server of grpc-go by a Server and a Client of
// ours, between which the text passes as it is.
func grpcPair(tt *tester) *grpc.ClientConn {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tt.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(echoGRPC), grpc.MaxRecvMsgSize(64<<20))
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(ln) })
	tt.Cleanup(func() {
		s.Stop()
		wg.Wait()
	})
	k := tt.client(ln.Addr().String())
	addr := tt.serve(func(task *eventloop.Task, c *eventloop.Conn) {
		up, err := k.Open()
		if err != nil {
			tt.Error(err)
			return
		}
		defer up.Close()
		tunnel(task, c, up)
	})
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		tt.Fatal(err)
	}
	tt.Cleanup(func() { cc.Close() })
	return cc
}

// tunnel passes text both ways until the response has ended, or a side has.
func tunnel(task *eventloop.Task, a, b *eventloop.Conn) {
	out, back := pipe{from: a, to: b}, pipe{from: b, to: a}
	for {
		more := out.move()
		if !back.move() && !more {
			if back.ended && len(back.rest) == 0 || out.err != nil || back.err != nil {
				return
			}
			want := [2]eventloop.Events{eventloop.Readable, eventloop.Readable}
			if len(out.rest) > 0 {
				want[0], want[1] = 0, want[1]|eventloop.Writable
			}
			if len(back.rest) > 0 {
				want[0], want[1] = want[0]|eventloop.Writable, want[1]&^eventloop.Readable
			}
			if task.Wait(-1, eventloop.Interest{Conn: a, Events: want[0]}, eventloop.Interest{Conn: b, Events: want[1]}) != nil {
				return
			}
		}
		task.Rest()
	}
}

type pipe struct {
	from, to *eventloop.Conn
	buf      [16 << 10]byte
	rest     []byte
	ended    bool
	err      error
}

// move reads or writes once, and reports whether that came to anything.
func (p *pipe) move() bool {
	var n int
	var err error
	if len(p.rest) > 0 {
		n, err = p.to.TryWrite(p.rest)
		p.rest = p.rest[n:]
	} else if !p.ended {
		n, err = p.from.TryRead(p.buf[:])
		p.rest = p.buf[:n]
	}
	switch {
	case err == io.EOF:
		p.ended = true
	case err != nil && err != eventloop.ErrWouldBlock:
		p.err = err
	}
	return n > 0
}

func TestGRPC(t *testing.T) {
	tt := newTester(t)
	cc := grpcPair(tt)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, size := range []int{0, 1, 1000, 100_000, 10 << 20} {
		in, out := wrapperspb.Bytes(bytes.Repeat([]byte("x"), size)), new(wrapperspb.BytesValue)
		var trailer metadata.MD
		err := cc.Invoke(metadata.AppendToOutgoingContext(ctx, "x-to", "you"), method, in, out, grpc.Trailer(&trailer))
		if err != nil || !bytes.Equal(in.Value, out.Value) || firstOf(trailer.Get("x-back")) != "you" {
			t.Errorf("%d octets: %d came back, trailers %v, %v", size, len(out.Value), trailer, err)
		}
	}
	err := cc.Invoke(ctx, method, wrapperspb.Bytes([]byte("fail")), new(wrapperspb.BytesValue))
	if s := status.Convert(err); s.Code() != codes.DataLoss || s.Message() != "as asked" {
		t.Error(err)
	}
	brief, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	err = cc.Invoke(brief, method, wrapperspb.Bytes([]byte("hang")), new(wrapperspb.BytesValue))
	if status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	tt.until("no stream is left", func() bool { return tt.server(0).Streams() == 0 })
	if n := tt.all.GoawaysOut.Load(); n != 0 {
		t.Errorf("%d GOAWAYs", n)
	}
}

// Messages go to and fro on streams that stay open, many at the same time.
func TestGRPCStreams(t *testing.T) {
	tt := newTester(t)
	tt.opts.MaxStreams = 1000
	cc := grpcPair(tt)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			s, err := cc.NewStream(ctx, bidirectional, method)
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 20 {
				m := wrapperspb.Bytes(bytes.Repeat([]byte{byte(i)}, j*100))
				got := new(wrapperspb.BytesValue)
				if err := errors.Join(s.SendMsg(m), s.RecvMsg(got)); err != nil || !bytes.Equal(got.Value, m.Value) {
					t.Errorf("stream %d, message %d: %v", i, j, err)
					return
				}
			}
			s.CloseSend()
			if err := s.RecvMsg(new(wrapperspb.BytesValue)); !errors.Is(err, io.EOF) {
				t.Errorf("stream %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := tt.all.Streams.Load(); n != 600 {
		t.Errorf("%d streams, both sides together", n)
	}
}
