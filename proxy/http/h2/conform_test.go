package h2

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
)

// Mistakes for which RFC 9113 asks for an end of the connection.
func TestMistakesThatEndTheConnection(t *testing.T) {
	for _, c := range []struct {
		name string
		code http2.ErrCode
		do   func(r *raw)
	}{
		{"4.2 frame too large", http2.ErrCodeFrameSize, func(r *raw) { r.fr.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16385)) }},
		{"4.3 undecodable block", http2.ErrCodeCompression, func(r *raw) { r.headers(1, true, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) }},
		{"4.3 another frame within a block", http2.ErrCodeProtocol, func(r *raw) {
			r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.get()})
			r.fr.WritePing(false, [8]byte{})
		}},
		{"5.1 data on an idle stream", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteData(1, true, []byte("x")) }},
		{"5.1 reset of an idle stream", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteRSTStream(1, http2.ErrCodeCancel) }},
		{"5.1 window of an idle stream", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteWindowUpdate(1, 1) }},
		{"5.1 data on a closed stream", http2.ErrCodeStreamClosed, func(r *raw) {
			r.headers(1, true, r.get())
			r.wantAnswer(1)
			r.fr.WriteData(1, true, []byte("x"))
		}},
		{"5.1 HEADERS on a closed stream", http2.ErrCodeStreamClosed, func(r *raw) {
			r.headers(1, true, r.get())
			r.wantAnswer(1)
			r.headers(1, true, r.get())
		}},
		{"5.1.1 even stream", http2.ErrCodeProtocol, func(r *raw) { r.headers(2, true, r.get()) }},
		{"5.1.1 lower stream", http2.ErrCodeStreamClosed, func(r *raw) {
			r.headers(3, true, r.get())
			r.wantAnswer(3)
			r.headers(1, true, r.get())
		}},
		{"6.1 data on the connection", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteData(0, true, []byte("x")) }},
		{"6.1 padding longer than the frame", http2.ErrCodeProtocol, func(r *raw) {
			r.headers(1, false, r.post())
			r.fr.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{6, 0, 0, 0, 0, 0})
		}},
		{"6.2 padding longer than HEADERS", http2.ErrCodeProtocol, func(r *raw) {
			r.fr.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 1, append([]byte{200}, r.get()...))
		}},
		{"6.2 HEADERS on the connection", http2.ErrCodeProtocol, func(r *raw) { r.headers(0, true, r.get()) }},
		{"6.3 PRIORITY on the connection", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteRawFrame(http2.FramePriority, 0, 0, make([]byte, 5)) }},
		{"6.4 short RST_STREAM", http2.ErrCodeFrameSize, func(r *raw) { r.fr.WriteRawFrame(http2.FrameRSTStream, 0, 1, make([]byte, 3)) }},
		{"6.5 SETTINGS on a stream", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteRawFrame(http2.FrameSettings, 0, 1, nil) }},
		{"6.5 SETTINGS of a wrong size", http2.ErrCodeFrameSize, func(r *raw) { r.fr.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 7)) }},
		{"6.5 acknowledgement with content", http2.ErrCodeFrameSize, func(r *raw) {
			r.fr.WriteRawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, make([]byte, 6))
		}},
		{"6.5.2 push neither 0 nor 1", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}) }},
		{"6.5.2 window too large", http2.ErrCodeFlowControl, func(r *raw) { r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }},
		{"6.5.2 frames too small", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16383}) }},
		{"6.5.2 frames too large", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 24}) }},
		{"6.6 PUSH_PROMISE", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteRawFrame(http2.FramePushPromise, 4, 1, make([]byte, 4)) }},
		{"6.7 PING on a stream", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)) }},
		{"6.7 PING of a wrong size", http2.ErrCodeFrameSize, func(r *raw) { r.fr.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }},
		{"6.8 GOAWAY on a stream", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteRawFrame(http2.FrameGoAway, 0, 1, make([]byte, 8)) }},
		{"6.9 window grows by nothing", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteWindowUpdate(0, 0) }},
		{"6.9 WINDOW_UPDATE of a wrong size", http2.ErrCodeFrameSize, func(r *raw) { r.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 3)) }},
		{"6.9.1 window too large", http2.ErrCodeFlowControl, func(r *raw) { r.fr.WriteWindowUpdate(0, 1<<31-1) }},
		{"6.10 CONTINUATION alone", http2.ErrCodeProtocol, func(r *raw) { r.fr.WriteContinuation(1, true, r.get()) }},
		{"6.10 CONTINUATION of another stream", http2.ErrCodeProtocol, func(r *raw) {
			r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.get()})
			r.fr.WriteContinuation(3, true, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := newTester(t)
			r := tt.dial(tt.serve(ok))
			c.do(r)
			r.wantGoaway(c.code)
			r.conn.Close()
			tt.quiet()
		})
	}
}

// Mistakes for which RFC 9113 asks for an end of the stream, after which the connection goes on.
func TestMistakesThatEndTheStream(t *testing.T) {
	for _, c := range []struct {
		name string
		code http2.ErrCode
		do   func(r *raw)
	}{
		{"5.1 data behind END_STREAM", http2.ErrCodeStreamClosed, func(r *raw) {
			r.headers(1, true, r.get())
			r.fr.WriteData(1, true, []byte("x"))
		}},
		{"5.1 HEADERS behind END_STREAM", http2.ErrCodeStreamClosed, func(r *raw) {
			r.headers(1, true, r.get())
			r.headers(1, true, r.get())
		}},
		{"5.3.1 a stream that depends on itself", http2.ErrCodeProtocol, func(r *raw) {
			r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.get(), EndHeaders: true, EndStream: true, Priority: http2.PriorityParam{StreamDep: 1}})
		}},
		{"6.3 PRIORITY of a wrong size", http2.ErrCodeFrameSize, func(r *raw) {
			r.headers(1, false, r.post())
			r.fr.WriteRawFrame(http2.FramePriority, 0, 1, make([]byte, 4))
		}},
		{"6.9 window grows by nothing", http2.ErrCodeProtocol, func(r *raw) {
			r.headers(1, false, r.post())
			r.fr.WriteWindowUpdate(1, 0)
		}},
		{"6.9.1 window too large", http2.ErrCodeFlowControl, func(r *raw) {
			r.headers(1, false, r.post())
			r.fr.WriteWindowUpdate(1, 1<<31-1)
		}},
		{"6.9.1 more data than the window", http2.ErrCodeFlowControl, func(r *raw) {
			r.headers(1, false, r.post())
			for range 1<<18>>14 + 1 {
				r.fr.WriteData(1, false, make([]byte, 1<<14))
			}
		}},
		{"8.1 trailers without an end", http2.ErrCodeProtocol, func(r *raw) {
			r.headers(1, false, r.post())
			r.headers(1, false, r.block("x", "y"))
		}},
		{"8.1.1 less data than Content-Length", http2.ErrCodeProtocol, func(r *raw) {
			r.headers(1, false, r.post("content-length", "2"))
			r.fr.WriteData(1, true, []byte("x"))
		}},
		{"8.1.1 more data than Content-Length", http2.ErrCodeProtocol, func(r *raw) {
			r.headers(1, false, r.post("content-length", "1"))
			r.fr.WriteData(1, true, []byte("xy"))
		}},
		{"8.2.2 connection-specific field", http2.ErrCodeProtocol, func(r *raw) { r.headers(1, true, r.get("connection", "close")) }},
		{"8.3 missing pseudo-field", http2.ErrCodeProtocol, func(r *raw) { r.headers(1, true, r.block(":method", "GET", ":path", "/")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := newTester(t)
			r := tt.dial(tt.serve(hang))
			c.do(r)
			r.wantReset(1, c.code)
			r.wantAlive()
			tt.until("the stream is gone", func() bool { return tt.server(0).Streams() == 0 })
		})
	}
}

func TestTheBeginningOfAConnection(t *testing.T) {
	tt := newTester(t)
	addr := tt.serve(ok)
	r := tt.connect(addr)
	r.fr.WritePing(false, [8]byte{})
	r.wantGoaway(http2.ErrCodeProtocol)

	r = tt.connect(addr)
	r.check(r.fr.WriteSettings())
	r.greet()
	r.wantAlive()
}

func TestAWrongPreface(t *testing.T) {
	tt := newTester(t)
	r := tt.connect(tt.serve(ok)) // what follows the right one is another one, of no use as a frame
	r.conn.Write([]byte(prefaceText))
	r.wantGoaway(http2.ErrCodeFrameSize)
	for in, want := range map[string][2]bool{
		"": {false, true}, "PRI": {false, true}, "PRI *": {false, true}, "PUT": {false, false}, "GET / HTTP/1.1\r\n": {false, false},
		prefaceText: {true, false}, prefaceText + "more": {true, false}, prefaceText[:23] + "x": {false, false},
	} {
		if yes, more := Preface([]byte(in)); yes != want[0] || more != want[1] {
			t.Errorf("%q: %v, %v", in, yes, more)
		}
	}
}

// What is unknown, or of no effect, is passed over.
func TestWhatIsIgnored(t *testing.T) {
	tt := newTester(t)
	r := tt.dial(tt.serve(ok))
	r.check(r.fr.WriteRawFrame(0x42, 0xff, 0, make([]byte, 100)))
	r.check(r.fr.WriteRawFrame(0x42, 0xff, 1, nil))
	r.check(r.fr.WritePriority(7, http2.PriorityParam{StreamDep: 1}))
	r.check(r.fr.WriteSettings(http2.Setting{ID: 0x99, Val: 1}))
	r.check(r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.get(), EndHeaders: true, EndStream: true, PadLength: 200}))
	if status, _ := r.wantAnswer(1); status != "200" {
		t.Error(status)
	}
	r.check(r.fr.WriteRSTStream(1, http2.ErrCodeCancel))
	r.check(r.fr.WriteWindowUpdate(1, 5))
	r.wantAlive()
}

func TestABlockInPieces(t *testing.T) {
	tt := newTester(t)
	r := tt.dial(tt.serve(ok))
	block := r.get("x", "y")
	r.check(r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1], EndStream: true}))
	for i := 1; i < 5; i++ {
		r.check(r.fr.WriteContinuation(1, false, block[i:i+1]))
	}
	r.check(r.fr.WriteContinuation(1, true, block[5:]))
	if status, _ := r.wantAnswer(1); status != "200" {
		t.Error(status)
	}
}

// Our frames and the peer's, one octet at a time.
func TestAnySplitOfTheInput(t *testing.T) {
	tt := newTester(t)
	r := tt.dial(tt.serve(handler(echo)))
	var all bytes.Buffer
	fw := http2.NewFramer(&all, nil)
	fw.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.post(), EndHeaders: true, PadLength: 3})
	fw.WriteDataPadded(1, false, []byte("hello"), make([]byte, 4))
	fw.WriteData(1, false, []byte(" world"))
	fw.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block("x-mine", "z"), EndHeaders: true, EndStream: true})
	for _, c := range all.Bytes() {
		if _, err := r.conn.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	status, size := r.wantAnswer(1)
	if status != "200" || size != 11 {
		t.Errorf("status %s, %d octets", status, size)
	}
}

func TestASecondLimitOfStreams(t *testing.T) {
	tt := newTester(t)
	tt.opts.MaxStreams = 2
	r := tt.dial(tt.serve(hang))
	for id := uint32(1); id <= 5; id += 2 {
		r.headers(id, true, r.get())
	}
	r.wantReset(5, http2.ErrCodeRefusedStream)
	r.check(r.fr.WriteRSTStream(1, http2.ErrCodeCancel))
	tt.until("a stream is free", func() bool { return tt.server(0).Streams() == 1 })
	r.headers(7, true, r.get())
	r.wantAlive()
	if tt.all.Refused.Load() != 1 || tt.all.Streams.Load() != 3 {
		t.Errorf("%d refused, %d streams", tt.all.Refused.Load(), tt.all.Streams.Load())
	}
}
