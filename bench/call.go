package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/net/http2/hpack"
)

// The origin of the gRPC table answers every call with the same frames, which it has made
// beforehand: it reads the lengths, types and flags of frames, and nothing of what they hold.
// So it costs little beside the load, and says nothing about servers of gRPC.
const roleCallOrigin = "call-origin"

// callSize is the length of a call's message and of its answer's, each with five octets before it.
const callSize = 120

// Types and flags of frames (RFC 9113, 6).
const (
	frameData         = 0
	frameHeaders      = 1
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8

	flagEndStream  = 1
	flagAck        = 1
	flagEndHeaders = 4

	frameHead     = 9
	initialWindow = 65_535
	settingWindow = 4 // the initial window of streams
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// callOriginMain serves calls at an address until it is ended.
func callOriginMain(args []string) error {
	if len(args) != 1 {
		return errors.New("call origin: one argument, its address")
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	answer := newCallAnswer()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_ = newCallConn(answer).serve(c) // the proxy tells of what it misses
		}()
	}
}

// callMessage is the message of calls and answers, as gRPC frames it: not compressed, its
// length, its octets.
func callMessage() []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, callSize)
	return append(b, body{size: callSize + 8}.text()[:callSize]...)
}

// newCallAnswer returns the frames of an answer. Their stream IDs are set for each call.
func newCallAnswer() callAnswer {
	// No field goes into the peer's dynamic table, so that the same octets always mean the same.
	fields := func(f ...hpack.HeaderField) []byte {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		e.SetMaxDynamicTableSize(0)
		for _, field := range f {
			_ = e.WriteField(field) // a buffer takes everything
		}
		return block.Bytes()
	}
	head := fields(hpack.HeaderField{Name: ":status", Value: "200"}, hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
	trailers := fields(hpack.HeaderField{Name: "grpc-status", Value: "0"})

	var a callAnswer
	add := func(kind, flags byte, payload []byte) {
		a.ids = append(a.ids, len(a.frames)+5)
		a.frames = appendFrame(a.frames, kind, flags, 0, payload)
	}
	add(frameHeaders, flagEndHeaders, head)
	add(frameData, 0, callMessage())
	add(frameHeaders, flagEndHeaders|flagEndStream, trailers)
	return a
}

// callAnswer is the answer of every call, and where in it the stream ID stands.
type callAnswer struct {
	frames []byte
	ids    []int
}

func (a callAnswer) append(dst []byte, stream uint32) []byte {
	start := len(dst)
	dst = append(dst, a.frames...)
	for _, at := range a.ids {
		binary.BigEndian.PutUint32(dst[start+at:], stream)
	}
	return dst
}

func appendFrame(dst []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return append(dst, payload...)
}

// A callConn is one connection to the origin of calls.
type callConn struct {
	answer  callAnswer
	out     []byte
	waiting []uint32 // calls for whose answer the connection's window has no room
	window  int64    // of the connection, towards the peer
	got     int      // octets of DATA that have not been given back to the peer's window
}

func newCallConn(answer callAnswer) *callConn {
	return &callConn{answer: answer, window: initialWindow}
}

// serve answers calls until the connection ends: all that has come is answered in one write.
func (c *callConn) serve(conn net.Conn) error {
	c.out = appendFrame(c.out, frameSettings, 0, 0, nil)
	in, w := make([]byte, 256<<10), 0
	for greeted := false; !greeted; {
		n, err := conn.Read(in[w:])
		if err != nil {
			return err
		}
		w += n
		if greeted = w >= len(preface); greeted && string(in[:len(preface)]) != preface {
			return errors.New("no preface of HTTP/2")
		}
	}
	for r := len(preface); ; r = 0 {
		n, err := c.frames(in[r:w])
		if err != nil {
			return err
		}
		if _, err := conn.Write(c.out); err != nil {
			return err
		}
		c.out = c.out[:0]
		w = copy(in, in[r+n:w])
		if n, err = conn.Read(in[w:]); err != nil {
			return err
		}
		w += n
	}
}

// frames takes all whole frames and returns how many octets they are.
func (c *callConn) frames(in []byte) (n int, err error) {
	for len(in)-n >= frameHead {
		f := in[n:]
		length := int(f[0])<<16 | int(f[1])<<8 | int(f[2])
		if length > 16<<10 {
			return n, fmt.Errorf("a frame of %d octets", length)
		}
		if len(f) < frameHead+length {
			break
		}
		if err := c.frame(f[3], f[4], binary.BigEndian.Uint32(f[5:]), f[frameHead:frameHead+length]); err != nil {
			return n, err
		}
		n += frameHead + length
	}
	c.flush()
	return n, nil
}

func (c *callConn) frame(kind, flags byte, stream uint32, payload []byte) error {
	switch kind {
	case frameHeaders, frameData:
		if kind == frameData {
			c.got += len(payload)
		}
		if flags&flagEndStream != 0 {
			c.waiting = append(c.waiting, stream)
		}
	case frameSettings:
		if flags&flagAck == 0 {
			c.out = appendFrame(c.out, frameSettings, flagAck, 0, nil)
			return checkWindow(payload)
		}
	case framePing:
		if flags&flagAck == 0 {
			c.out = appendFrame(c.out, framePing, flagAck, 0, payload)
		}
	case frameWindowUpdate:
		if stream == 0 && len(payload) == 4 {
			c.window += int64(binary.BigEndian.Uint32(payload))
		}
	case frameGoAway:
		return io.EOF
	}
	return nil
}

// checkWindow refuses a peer whose streams have no room for an answer: the origin does not
// count what each stream may carry.
func checkWindow(settings []byte) error {
	for ; len(settings) >= 6; settings = settings[6:] {
		if v := binary.BigEndian.Uint32(settings[2:]); binary.BigEndian.Uint16(settings) == settingWindow && v < callSize+5 {
			return fmt.Errorf("windows of %d octets are too small for an answer", v)
		}
	}
	return nil
}

// flush answers the calls that wait, as far as the connection's window reaches, and gives the
// peer's window back before half of it is used.
func (c *callConn) flush() {
	room := min(int(c.window/(callSize+5)), len(c.waiting))
	for _, stream := range c.waiting[:room] {
		c.out = c.answer.append(c.out, stream)
	}
	c.window -= int64(room) * (callSize + 5)
	c.waiting = c.waiting[:copy(c.waiting, c.waiting[room:])]
	if c.got > initialWindow/4 {
		c.out = appendFrame(c.out, frameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(c.got)))
		c.got = 0
	}
}
