package main

import (
	"encoding/binary"
	"net"
	"testing"
)

func TestTheOriginAnswersCalls(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			_ = newCallConn(newCallAnswer()).serve(c) // ends with the client's connection
		}
		ended <- err
	}()
	if err := checkCall(setting{grpc: true}, l.Addr().String()); err != nil {
		t.Error(err)
	}
	l.Close()
	<-ended
}

// answered returns the calls whose answers c has written.
func answered(c *callConn) (streams []uint32) {
	for out := c.out; len(out) > 0; {
		n := int(out[0])<<16 | int(out[1])<<8 | int(out[2])
		if out[3] == frameHeaders && out[4]&flagEndStream != 0 {
			streams = append(streams, binary.BigEndian.Uint32(out[5:]))
		}
		out = out[frameHead+n:]
	}
	c.out = c.out[:0]
	return streams
}

func TestTheOriginKeepsWithinTheWindow(t *testing.T) {
	c := newCallConn(newCallAnswer())
	c.window = 2*int64(len(callMessage())) + 10
	var in []byte
	for stream := uint32(1); stream <= 7; stream += 2 {
		in = appendFrame(in, frameHeaders, flagEndHeaders, stream, []byte{0x83})
		in = appendFrame(in, frameData, flagEndStream, stream, callMessage())
	}
	if n, err := c.frames(in); n != len(in) || err != nil {
		t.Fatalf("took %d of %d octets, %v", n, len(in), err)
	}
	if got := answered(c); len(got) != 2 || got[0] != 1 || got[1] != 3 {
		t.Errorf("answered %v, want 1 and 3: there is room for two answers", got)
	}
	more := appendFrame(nil, frameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, 1000))
	if _, err := c.frames(more); err != nil {
		t.Fatal(err)
	}
	if got := answered(c); len(got) != 2 || got[0] != 5 || got[1] != 7 {
		t.Errorf("answered %v, want 5 and 7", got)
	}
}

func TestTheOriginLeavesHalfAFrame(t *testing.T) {
	c := newCallConn(newCallAnswer())
	whole := appendFrame(nil, frameHeaders, flagEndHeaders|flagEndStream, 1, []byte{0x83})
	in := append(whole, whole[:frameHead]...)
	if n, err := c.frames(in); n != len(whole) || err != nil {
		t.Errorf("took %d octets, %v; want %d", n, err, len(whole))
	}
}

func TestTheOriginGivesTheWindowBack(t *testing.T) {
	c := newCallConn(newCallAnswer())
	given := 0
	for range 1000 {
		if _, err := c.frames(appendFrame(nil, frameData, 0, 1, callMessage())); err != nil {
			t.Fatal(err)
		}
		if len(c.out) > 0 {
			given += int(binary.BigEndian.Uint32(c.out[frameHead:]))
			c.out = c.out[:0]
		}
	}
	if left := 1000*len(callMessage()) - given; left < 0 || left > initialWindow/2 {
		t.Errorf("%d octets were not given back, want 0 to half of the window", left)
	}
}

func TestTheOriginRefusesSmallWindows(t *testing.T) {
	for value, wrong := range map[uint32]bool{uint32(len(callMessage()) - 1): true, uint32(len(callMessage())): false} {
		payload := binary.BigEndian.AppendUint32([]byte{0, settingWindow}, value)
		if err := checkWindow(payload); (err != nil) != wrong {
			t.Errorf("%d: %v", value, err)
		}
	}
}
