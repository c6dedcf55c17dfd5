package healthcheck

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// theStream is the only one of a probe's connection.
	theStream = 1
	// maxFrameBytes is how long a frame's payload may be unless both sides agree on more.
	maxFrameBytes = 16 << 10
)

// overHTTP2 sends a request over a new connection and returns the response, whose body is still
// to be read from r.
func overHTTP2(w io.Writer, r io.Reader, req *http.Request) (*http.Response, error) {
	var out bytes.Buffer
	x := &exchange{Framer: http2.NewFramer(&out, r), w: w, out: &out}
	x.ReadMetaHeaders = hpack.NewDecoder(hpackTableBytes, nil)
	x.MaxHeaderListSize = maxResponseBytes
	x.SetMaxReadFrameSize(maxFrameBytes)
	if err := x.send(req); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	resp, err := x.response(req)
	if err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	return resp, nil
}

// hpackTableBytes is the size of the table that both sides begin with, RFC 7541, 4.2.
const hpackTableBytes = 4096

// An exchange is a request and its response in HTTP/2.
type exchange struct {
	*http2.Framer // writes to out
	w             io.Writer
	out           *bytes.Buffer
	data          []byte // of the response's body, read and not yet asked for
	ended         bool   // the response is complete
}

// flush sends what has been framed.
func (x *exchange) flush() error {
	_, err := x.out.WriteTo(x.w)
	return err
}

// send begins the connection and sends the request, all at once. The windows that both sides
// begin with, of 65535 bytes, are large enough for all that is read.
func (x *exchange) send(req *http.Request) error {
	x.out.WriteString(http2.ClientPreface)
	err := errors.Join(
		x.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxResponseBytes}),
		x.writeFields(fieldsOf(req)))
	if err != nil {
		return err
	}
	return x.flush()
}

// writeFields frames a block of fields that is the whole request.
func (x *exchange) writeFields(block []byte) error {
	first, rest := cut(block)
	err := x.WriteHeaders(http2.HeadersFrameParam{
		StreamID: theStream, BlockFragment: first, EndStream: true, EndHeaders: len(rest) == 0,
	})
	for err == nil && len(rest) > 0 {
		first, rest = cut(rest)
		err = x.WriteContinuation(theStream, len(rest) == 0, first)
	}
	return err
}

func cut(block []byte) (first, rest []byte) {
	n := min(len(block), maxFrameBytes)
	return block[:n], block[n:]
}

// fieldsOf encodes the fields of a request without a body, but for those that belong to a
// connection (RFC 9113, 8.2.2) or are told otherwise.
func fieldsOf(req *http.Request) []byte {
	var out bytes.Buffer
	e := hpack.NewEncoder(&out)
	write := func(name, value string) {
		_ = e.WriteField(hpack.HeaderField{Name: name, Value: value}) // a buffer takes everything
	}
	write(":method", req.Method)
	write(":scheme", req.URL.Scheme)
	write(":authority", req.Host)
	write(":path", req.URL.RequestURI())
	for name, values := range req.Header {
		switch name {
		case "Host", "Content-Length", "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Te", "Trailer":
			continue
		}
		for _, value := range values {
			write(strings.ToLower(name), value)
		}
	}
	if req.Method == http.MethodPost {
		write("content-length", "0") // as HTTP/1.1 says it
	}
	return out.Bytes()
}

// response reads up to the fields of the first response that is not an interim one.
func (x *exchange) response(req *http.Request) (*http.Response, error) {
	for interim := 0; interim <= maxInterim; {
		f, err := x.next()
		if err != nil {
			return nil, err
		}
		fields, ok := f.(*http2.MetaHeadersFrame)
		switch {
		case !ok:
			return nil, errors.New("data before the response")
		case fields.Truncated:
			return nil, fmt.Errorf("the fields have more than %d bytes", maxResponseBytes)
		}
		status, ok := parseStatus(fields.PseudoValue("status"))
		if !ok || status < minStatus {
			return nil, fmt.Errorf("%q is no status", firstLine(fields.PseudoValue("status")))
		}
		if status < 200 {
			interim++
			continue
		}
		x.ended = fields.StreamEnded()
		text := strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
		return &http.Response{StatusCode: status, Status: text, ProtoMajor: 2, Body: io.NopCloser(x), Request: req}, nil
	}
	return nil, errInterim
}

// Read reads from the response's body.
func (x *exchange) Read(b []byte) (int, error) {
	for len(x.data) == 0 {
		if x.ended {
			return 0, io.EOF
		}
		f, err := x.next()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // it is not the end of the body
		}
		if err != nil {
			return 0, err
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			x.data, x.ended = f.Data(), f.StreamEnded()
		case *http2.MetaHeadersFrame: // trailers
			x.ended = f.StreamEnded()
		}
	}
	n := copy(b, x.data)
	x.data = x.data[n:]
	return n, nil
}

// next reads up to the next frame of fields or data, which is good until it is called again. It
// answers those that want an answer.
func (x *exchange) next() (http2.Frame, error) {
	for {
		f, err := x.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = x.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = x.WritePing(true, f.Data)
			}
		case *http2.GoAwayFrame:
			if f.LastStreamID < theStream || f.ErrCode != http2.ErrCodeNo {
				return nil, fmt.Errorf("the server ended the connection: %v", f.ErrCode)
			}
		case *http2.RSTStreamFrame:
			return nil, fmt.Errorf("the server reset the stream: %v", f.ErrCode)
		case *http2.DataFrame, *http2.MetaHeadersFrame:
			return f, nil
		}
		if err == nil {
			err = x.flush()
		}
		if err != nil {
			return nil, err
		}
	}
}
