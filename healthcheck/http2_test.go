package healthcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// serveHTTP2 starts a server that speaks nothing but HTTP/2, without TLS, and returns its address.
func serveHTTP2(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestHTTP2Results(t *testing.T) {
	long := strings.Repeat("x", maxResponseBytes)
	for name, test := range map[string]struct {
		options HTTPOptions
		handler http.HandlerFunc
		want    string
	}{
		"no content":       {HTTPOptions{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, ""},
		"a failure":        {HTTPOptions{}, fails("no database"), "status 503 Service Unavailable: no database"},
		"that is wanted":   {HTTPOptions{Statuses: []StatusRange{{503, 503}}}, fails("no database"), ""},
		"no common status": {HTTPOptions{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) }, "status 599"},
		"interim": {HTTPOptions{}, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(102)
		}, ""},
		"too many interim": {HTTPOptions{}, func(w http.ResponseWriter, _ *http.Request) {
			for range maxInterim + 1 {
				w.WriteHeader(103)
			}
		}, "reading the response: more than 5 interim responses"},
		"a body":           {HTTPOptions{Body: regexp.MustCompile("^ok$")}, says("ok"), ""},
		"another body":     {HTTPOptions{Body: regexp.MustCompile("^ok$")}, says("starting"), `status 200 OK, but the body does not match "^ok$"; it begins with "starting"`},
		"no body":          {HTTPOptions{Body: regexp.MustCompile("ok")}, says(""), `status 200 OK, but the body does not match "ok"; there is no text in it`},
		"none with HEAD":   {HTTPOptions{Method: "HEAD", Body: regexp.MustCompile("^$")}, says("ok"), ""},
		"within 64 KiB":    {HTTPOptions{Body: regexp.MustCompile("ok$")}, says(long[:maxResponseBytes-1000] + "ok"), ""},
		"beyond 64 KiB":    {HTTPOptions{Body: regexp.MustCompile("ok$")}, says(long + "ok"), `status 200 OK, but the body does not match "ok$"; it begins with "` + long[:maxReasonBytes] + `"`},
		"before 64 KiB":    {HTTPOptions{Body: regexp.MustCompile("^ok")}, says("ok" + long + long), ""},
		"not looked at":    {HTTPOptions{}, breaksOff("x"), ""},
		"ends in mid-body": {HTTPOptions{Body: regexp.MustCompile("o")}, breaksOffChunked("o"), "status 200 OK, but reading the body: the server reset the stream: INTERNAL_ERROR"},
		"trailers": {HTTPOptions{Body: regexp.MustCompile("^ok$")}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X")
			_, _ = io.WriteString(w, "ok")
			w.Header().Set("X", "end")
		}, ""},
		"fields": {HTTPOptions{}, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", long[:maxResponseBytes/2]) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := test.options
			o.HTTP2 = true
			wantResult(t, HTTP(o).Probe(t.Context(), serveHTTP2(t, test.handler)), test.want)
		})
	}
}

func TestHTTP2Request(t *testing.T) {
	large := strings.Repeat("~", 40<<10) // in several frames: what HPACK makes of it is no shorter
	for name, test := range map[string]struct {
		options HTTPOptions
		want    string
	}{
		"nothing special": {HTTPOptions{}, "GET / of ADDRESS, [sidecar-health-check], length 0, [], []"},
		"all": {HTTPOptions{Method: "OPTIONS", Path: "/healthz?deep=1", Host: "orders.internal", Header: http.Header{
			"X-Probe": {"yes", large}, "User-Agent": {"me"},
			"Connection": {"close"}, "Te": {"gzip"}, "Upgrade": {"x"}, "Host": {"other"}, "Content-Length": {"7"},
		}}, "OPTIONS /healthz?deep=1 of orders.internal, [me], length 0, [yes " + large + "], []"},
		"POST": {HTTPOptions{Method: "POST"}, "POST / of ADDRESS, [sidecar-health-check], length 0, [], [0]"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan string, 1)
			address := serveHTTP2(t, func(_ http.ResponseWriter, r *http.Request) {
				h := r.Header
				seen <- fmt.Sprintf("%s %s of %s, %v, length %d, %v, %v", r.Method, r.RequestURI, r.Host, h["User-Agent"], r.ContentLength, h["X-Probe"], h["Content-Length"])
				for _, name := range []string{"Connection", "Te", "Upgrade", "Host"} {
					if h[name] != nil {
						t.Errorf("it says %s: %v", name, h[name])
					}
				}
			})
			o := test.options
			o.HTTP2 = true
			wantResult(t, HTTP(o).Probe(t.Context(), address), "")
			if got, want := <-seen, strings.ReplaceAll(test.want, "ADDRESS", address); got != want {
				t.Errorf("got %.200q, want %.200q", got, want)
			}
		})
	}
}

// respond frames fields of a response.
func respond(f *http2.Framer, end bool, fields ...string) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: theStream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

// untilEnd reads what the probe sends until it closes.
func untilEnd(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func TestHTTP2Servers(t *testing.T) {
	for name, test := range map[string]struct {
		handler func(net.Conn)
		want    string
	}{
		"closes at once": {func(net.Conn) {}, "reading the response: "},
		"speaks HTTP/1.1": {func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			untilEnd(conn)
		}, "note that the frame header looked like an HTTP/1.1 header"},
		"says goodbye": {speaks(func(conn net.Conn, f *http2.Framer) {
			_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
			untilEnd(conn)
		}), "reading the response: the server ended the connection: NO_ERROR"},
		"says goodbye, and answers": {speaks(func(conn net.Conn, f *http2.Framer) {
			_ = f.WriteGoAway(theStream, http2.ErrCodeNo, nil)
			respond(f, true, ":status", "200")
			untilEnd(conn)
		}), ""},
		"is enraged": {speaks(func(conn net.Conn, f *http2.Framer) {
			_ = f.WriteGoAway(theStream, http2.ErrCodeEnhanceYourCalm, nil)
			untilEnd(conn)
		}), "reading the response: the server ended the connection: ENHANCE_YOUR_CALM"},
		"refuses the stream": {speaks(func(conn net.Conn, f *http2.Framer) {
			_ = f.WriteRSTStream(theStream, http2.ErrCodeRefusedStream)
			untilEnd(conn)
		}), "reading the response: the server reset the stream: REFUSED_STREAM"},
		"no status": {speaks(func(conn net.Conn, f *http2.Framer) {
			respond(f, true, "x", "y")
			untilEnd(conn)
		}), `reading the response: "" is no status`},
		"a strange status": {speaks(func(conn net.Conn, f *http2.Framer) {
			respond(f, true, ":status", "+20")
			untilEnd(conn)
		}), `reading the response: "+20" is no status`},
		"data first": {speaks(func(conn net.Conn, f *http2.Framer) {
			_ = f.WriteData(theStream, true, []byte("ok"))
			untilEnd(conn)
		}), "reading the response: data before the response"},
		"too many fields": {speaks(func(conn net.Conn, f *http2.Framer) {
			// One large field, which costs little to name again.
			respond(f, false, append([]string{":status", "200"}, slicesOf("x", strings.Repeat("x", 4000), 17)...)...)
			untilEnd(conn)
		}), "reading the response: the fields have more than 65536 bytes"},
		"closes in the body": {speaks(func(_ net.Conn, f *http2.Framer) {
			untilHeaders(f)
			respond(f, false, ":status", "200")
			_ = f.WriteData(theStream, false, []byte("o"))
		}), "status 200 OK, but reading the body: "},
		"asks first": {speaks(func(conn net.Conn, f *http2.Framer) {
			untilHeaders(f)
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
			_ = f.WritePing(false, [8]byte{1, 2, 3})
			acks := 0
			for acks < 2 { // of both settings
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if s, ok := frame.(*http2.SettingsFrame); ok && s.IsAck() {
					acks++
				}
			}
			if frame, err := f.ReadFrame(); err == nil && frame.Header().Flags.Has(http2.FlagPingAck) && frame.(*http2.PingFrame).Data == [8]byte{1, 2, 3} {
				respond(f, false, ":status", "200")
				_ = f.WriteData(theStream, false, nil)
				_ = f.WriteData(theStream, true, []byte("ok"))
				untilEnd(conn)
			}
		}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := HTTP(HTTPOptions{HTTP2: true, Body: regexp.MustCompile("^(ok)?$")}).Probe(t.Context(), serveRaw(t, test.handler))
			if test.want == "" {
				wantResult(t, err, "")
			} else {
				wantError(t, err, test.want)
			}
		})
	}
}

func slicesOf(name, value string, n int) (all []string) {
	for range n {
		all = append(all, name, value)
	}
	return all
}

// A server that sends pings for ever is left when the context ends, or it has sent too much.
func TestHTTP2EndlessServer(t *testing.T) {
	err := HTTP(HTTPOptions{HTTP2: true}).Probe(t.Context(), serveRaw(t, speaks(func(conn net.Conn, f *http2.Framer) {
		go untilEnd(conn)
		for f.WritePing(false, [8]byte{}) == nil {
			continue
		}
	})))
	wantError(t, err, "reading the response: ")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = HTTP(HTTPOptions{HTTP2: true}).Probe(ctx, serveRaw(t, speaks(func(conn net.Conn, f *http2.Framer) {
		untilHeaders(f)
		cancel()
		untilEnd(conn)
	})))
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("error %v", err)
	}
}
