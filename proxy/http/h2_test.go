package http

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// client is one that speaks HTTP/2 with prior knowledge, or HTTP/1.1 only.
func newClient(t *testing.T, two bool) *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(two)
	p.SetHTTP1(!two)
	tr := &http.Transport{Protocols: p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// serveBoth is an origin that speaks HTTP/2 with prior knowledge, and HTTP/1.1.
func serveBoth(t *testing.T, handler http.HandlerFunc) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	p.SetHTTP1(true)
	s := &http.Server{Handler: handler, Protocols: p}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func TestAllCombinationsOfProtocolsAreForwarded(t *testing.T) {
	for _, from := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for to, upstream := range map[string]Upstream{"HTTP/1.1": UpstreamHTTP1, "HTTP/2.0": UpstreamH2C} {
			t.Run(from+" to "+to, func(t *testing.T) {
				origin := serveBoth(t, func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil || r.Proto != to {
						t.Errorf("%s, %v", r.Proto, err)
					}
					w.Header().Set("Trailer", "X-End")
					w.Header().Set("X-Got", r.Header.Get("X-Sent")+" "+r.URL.String()+" "+r.Host)
					_, _ = w.Write([]byte(strings.ToUpper(string(body))))
					w.Header().Set("X-End", "all")
				})
				r := newRig(t, setup{origins: []string{origin}, options: func(o *Options) { o.Upstream = upstream }})
				client := newClient(t, from == "HTTP/2.0")
				for _, body := range []string{"", "hello", strings.Repeat("x", 300<<10)} {
					req, _ := http.NewRequest("POST", "http://"+r.listener.Addr().String()+"/a?b=c", strings.NewReader(body))
					req.Header.Set("X-Sent", "me")
					req.Host = "orders.internal"
					resp, err := client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(got) != strings.ToUpper(body) || resp.Proto != from || resp.Header.Get("X-Got") != "me /a?b=c orders.internal" || resp.Trailer.Get("X-End") != "all" {
						t.Errorf("%d bytes: %d back, %v, %s %v trailers %v", len(body), len(got), err, resp.Proto, resp.Header, resp.Trailer)
					}
				}
			})
		}
	}
}
