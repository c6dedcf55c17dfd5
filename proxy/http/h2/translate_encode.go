package h2

import (
	"bytes"
	"io"

	"sidecar/proxy/http/h1"
)

// maxHeadText bounds the head of a message in HTTP/1.1, and the trailer section behind it. It is our
// own text, whose first writer has bounded it by less.
const maxHeadText = 1 << 20

// A sink takes what becomes of one message. None of it may be kept after the call.
type sink interface {
	// headers takes the header block of an interim response, a head, or trailers: HEADERS and,
	// if need be, CONTINUATION frames, with END_STREAM if end is true. It takes all, at once,
	// since blocks must be sent in the order in which they were made.
	headers(block []byte, end bool)
	// data returns how many octets of p it takes. With end nothing follows p: END_STREAM goes
	// with its last octet. An empty p comes with end only, and is always taken.
	data(p []byte, end bool) int
}

// An encoder makes one HTTP/2 message of HTTP/1.1 text, which may come in pieces of any size.
// It is used again by begin, and keeps its memory. The text is that of a proxy that has parsed
// the message itself: what is wrong in it cannot be mended and is an error.
type encoder struct {
	packer *packer
	kind   listKind
	asked  h1.Method
	stage  stage
	body   h1.Body
	buf    []byte // a head that has begun; later the lines of the trailer section
	line   []byte // a line of the chunked body's framing that has begun
}

// stage is what an encoder expects next.
type stage uint8

const (
	atHead stage = iota
	atBody
	atTrailers // lines of the trailer section
	atEnd      // END_STREAM is out
)

// begin begins a message: with requestList a request, with responseList the response to a
// request of that method.
func (e *encoder) begin(p *packer, kind listKind, method h1.Method) {
	*e = encoder{packer: p, kind: kind, asked: method, buf: e.buf[:0], line: e.line[:0]}
	if cap(e.buf) > keepBlock {
		e.buf = nil
	}
	if cap(e.line) > keepBlock {
		e.line = nil
	}
}

// method returns the method of the request, once its head has been written.
func (e *encoder) method() h1.Method { return e.asked }

// write takes text that comes next, and returns how much of it is done with: that must not come
// again. If that is not all, and there is no error, the sink is full. An error says that the
// message cannot be completed.
func (e *encoder) write(text []byte, s sink) (n int, err error) {
	for n < len(text) {
		var took int
		switch e.stage {
		case atHead:
			took, err = e.head(text[n:], s)
		case atEnd:
			return n, errBehindEnd
		default:
			if left := e.body.Remaining(); left > 0 {
				took = e.data(text[n:], left, s)
			} else {
				took, err = e.framing(text[n:], s)
			}
		}
		n += took
		if err != nil || took == 0 {
			return n, err
		}
	}
	return n, nil
}

// end says that no more text comes. That completes a body without a length. If the message is
// not complete, the error is io.ErrUnexpectedEOF.
func (e *encoder) end(s sink) error {
	switch {
	case e.stage == atEnd:
		return nil
	case e.stage == atHead || e.body.End() != nil:
		return io.ErrUnexpectedEOF
	}
	e.stage = atEnd
	s.data(nil, true)
	return nil
}

// headEnd ends the last line of a head, and the head.
const headEnd = "\r\n\r\n"

// head takes text of a head. Most come in one piece, and are not copied.
func (e *encoder) head(text []byte, s sink) (int, error) {
	if len(e.buf) == 0 {
		n, err := e.parse(text, s)
		if n == 0 && err == nil {
			e.buf = append(e.buf, text...)
			return len(text), e.bounded()
		}
		return n, err
	}
	before := len(e.buf)
	from := max(before-len(headEnd)+1, 0)
	e.buf = append(e.buf, text[:min(len(text), maxHeadText)]...)
	i := bytes.Index(e.buf[from:], []byte(headEnd))
	if i < 0 {
		return len(text), e.bounded()
	}
	size := from + i + len(headEnd)
	took := size - before
	n, err := e.parse(e.buf[:size], s)
	if err == nil && n < size {
		err = errText
	}
	return took, err
}

// bounded checks that a head does not grow without end.
func (e *encoder) bounded() error {
	if len(e.buf) >= maxHeadText {
		return errText
	}
	return nil
}

// parse hands on the head that text begins with, and returns its length, or 0 if its end is
// not there.
func (e *encoder) parse(text []byte, s sink) (n int, err error) {
	limits := h1.Limits{MaxHead: maxHeadText, MaxFields: maxHeadText, MaxTarget: maxHeadText}
	var block []byte
	final := true
	if e.kind == requestList {
		r := &e.packer.req
		if n, err = r.Parse(text, &limits); n == 0 || err != nil {
			r.Reset()
			return 0, err
		}
		if block, err = e.packer.request(r); err != nil {
			return 0, err
		}
		e.asked, e.body = r.MethodID, r.Body
	} else {
		r := &e.packer.resp
		if n, err = r.Parse(text, e.asked, &limits); n == 0 || err != nil {
			r.Reset()
			return 0, err
		}
		if r.Status == 101 || e.asked == h1.MethodConnect && r.Status/100 == 2 {
			return 0, errTunnel
		}
		block = e.packer.response(r)
		final, e.body = !r.Interim(), r.Body
	}
	e.buf = e.buf[:0]
	if !final {
		s.headers(block, false)
		return n, nil
	}
	e.stage = atBody
	if e.body.Done() {
		e.stage = atEnd
	}
	s.headers(block, e.stage == atEnd)
	return n, nil
}

// lastChunk is what follows the data of the last chunk, if there are no trailers.
const lastChunk = "\r\n" + h1.LastChunk

// data hands on data, of which so much comes before anything else. If its end is the body's,
// that goes with it.
func (e *encoder) data(text []byte, left int64, s sink) int {
	p := text[:min(left, int64(len(text)))]
	end, behind := false, 0
	if int64(len(p)) == left {
		switch e.body.Kind {
		case h1.Length:
			end = true
		case h1.Chunked:
			if rest := text[len(p):]; len(rest) >= len(lastChunk) && string(rest[:len(lastChunk)]) == lastChunk {
				end, behind = true, len(lastChunk)
			}
		}
	}
	n := s.data(p, end)
	e.body.Skip(int64(n))
	if end && n == len(p) {
		e.stage = atEnd
		return n + behind
	}
	return n
}

// framing takes one line of a chunked body's framing, or of its trailer section.
func (e *encoder) framing(text []byte, s sink) (int, error) {
	n := bytes.IndexByte(text, '\n') + 1
	if n == 0 || len(e.line) > 0 {
		part := text
		if n > 0 {
			part = text[:n]
		}
		if len(e.line)+len(part) > maxHeadText {
			return 0, errText
		}
		e.line = append(e.line, part...)
		if n == 0 {
			return len(text), nil
		}
		err := e.takeLine(e.line, s)
		e.line = e.line[:0]
		return n, err
	}
	return n, e.takeLine(text[:n], s)
}

// takeLine takes a whole line. Behind the size line of the last chunk come those of the trailer
// section; Body drops those that must not be there.
func (e *encoder) takeLine(line []byte, s sink) error {
	passes := false
	for rest := line; len(rest) > 0; {
		skip, take, err := e.body.Next(rest)
		switch {
		case err != nil:
			return err
		case skip+take == 0:
			return errText
		}
		passes = take > 0
		rest = rest[skip+take:]
	}
	switch {
	case e.stage == atTrailers && !e.body.Done():
		if passes {
			e.buf = append(e.buf, line...)
		}
	case e.stage == atTrailers && len(e.buf) > 0:
		e.stage = atEnd
		s.headers(e.packer.trailers(e.buf), true)
	case e.stage == atTrailers:
		e.stage = atEnd
		s.data(nil, true)
	case e.body.Remaining() == 0 && len(line) > len("\r\n"):
		e.stage = atTrailers
	}
	return nil
}
