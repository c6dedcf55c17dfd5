package h2

import (
	"fmt"
	"testing"

	"golang.org/x/net/http2/hpack"

	"sidecar/proxy/http/h1"
)

// Texts of a gRPC call as the exchange writes them.
const (
	callHead = "POST /helloworld.Greeter/SayHello HTTP/1.1\r\nhost: greeter.example:7001\r\n" +
		"content-type: application/grpc\r\nuser-agent: grpc-go/1.71.0\r\ngrpc-timeout: 999924u\r\n" +
		"Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\nX-Forwarded-For: 127.0.0.1\r\n" +
		"X-Forwarded-Proto: http\r\nVia: 1.1 sidecar\r\n\r\n"
	callData   = "c\r\n\x00\x00\x00\x00\x07\n\x05world\r\n0\r\n\r\n"
	replyHead  = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\nTransfer-Encoding: chunked\r\nVia: 1.1 sidecar\r\n\r\n"
	replyData  = "12\r\n\x00\x00\x00\x00\x0d\n\x0bHello world\r\n0\r\ngrpc-status: 0\r\ngrpc-message: \r\n\r\n"
	callList   = ":method=POST\n:scheme=http\n:path=/helloworld.Greeter/SayHello\n:authority=greeter.example:7001\ncontent-type=application/grpc\nuser-agent=grpc-go/1.71.0\nte=trailers\ngrpc-timeout=999924u"
	replyList  = ":status=200\ncontent-type=application/grpc"
	statusList = "grpc-status=0\ngrpc-message="
)

// A drain is a sink that takes everything, and counts.
type drain struct{ blocks, octets int }

func (d *drain) headers(block []byte, _ bool) { d.blocks += len(block) }

func (d *drain) data(p []byte, _ bool) int {
	d.octets += len(p)
	return len(p)
}

// A call makes the four translations that one call needs, as a proxy between two connections.
type call struct {
	tb             testing.TB
	in, out        decoder
	toward, back   *packer
	request, reply encoder
	text           []byte
	sink           drain

	callList, replyList, statusList          []hpack.HeaderField
	callHead, callData, replyHead, replyData []byte
}

func newCall(tb testing.TB) *call {
	return &call{tb: tb, toward: newPacker("http"), back: newPacker("http"),
		callList: fields(callList), replyList: fields(replyList), statusList: fields(statusList),
		callHead: []byte(callHead), callData: []byte(callData), replyHead: []byte(replyHead), replyData: []byte(replyData)}
}

func (c *call) decodeRequest() {
	decode(&c.in, requestList, c.callList)
	text, body, _, err := c.in.request(c.text[:0], false)
	if err == nil {
		text, err = body.data(text, []byte("\x00\x00\x00\x00\x07\n\x05world"))
	}
	if err == nil {
		text, err = body.end(text, nil)
	}
	c.keep(text, err)
}

func (c *call) decodeReply() {
	decode(&c.out, responseList, c.replyList)
	text, _, body, err := c.out.response(c.text[:0], false, h1.MethodPost)
	if err == nil {
		text, err = body.data(text, []byte("\x00\x00\x00\x00\x0d\n\x0bHello world"))
	}
	decode(&c.out, trailerList, c.statusList)
	if err == nil {
		text, err = c.out.trailers(text)
	}
	if err == nil {
		text, err = body.end(text, nil)
	}
	c.keep(text, err)
}

func (c *call) keep(text []byte, err error) {
	if err != nil {
		c.tb.Fatal(err)
	}
	c.text = text
}

func (c *call) encode(e *encoder, p *packer, kind listKind, head, data []byte) {
	e.begin(p, kind, h1.MethodPost)
	n, err := e.write(head, &c.sink)
	if err == nil && n == len(head) {
		n, err = e.write(data, &c.sink)
	}
	if err != nil || n != len(data) || !e.done() {
		c.tb.Fatalf("%d octets of %q: %v", n, data, err)
	}
}

func (c *call) encodeRequest() {
	c.encode(&c.request, c.toward, requestList, c.callHead, c.callData)
}

func (c *call) encodeReply() { c.encode(&c.reply, c.back, responseList, c.replyHead, c.replyData) }

func TestTranslationAllocatesNothing(t *testing.T) {
	c := newCall(t)
	heads := make([][]byte, 200) // of which each is another
	for i := range heads {
		heads[i] = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nx-request-id: %032d\r\nTransfer-Encoding: chunked\r\n\r\n", i)
	}
	i := 0
	for name, f := range map[string]func(){
		"request list":       c.decodeRequest,
		"reply list":         c.decodeReply,
		"request text":       c.encodeRequest,
		"reply text":         c.encodeReply,
		"reply text, unique": func() { c.encode(&c.reply, c.back, responseList, heads[i%len(heads)], c.replyData); i++ },
	} {
		for range 5 {
			f()
		}
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkTranslate(b *testing.B) {
	c := newCall(b)
	for _, part := range []struct {
		name string
		f    func()
	}{
		{"request-list", c.decodeRequest},
		{"request-text", c.encodeRequest},
		{"reply-list", c.decodeReply},
		{"reply-text", c.encodeReply},
	} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				part.f()
			}
		})
	}
}
