package h2

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// echo answers with the request's body, and trailers of both.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Path", r.URL.RequestURI())
	w.Header().Set("X-Host", r.Host)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	w.Header().Set(http.TrailerPrefix+"X-Sum", strconv.Itoa(len(body)))
	if v := r.Trailer.Get("X-Mine"); v != "" {
		w.Header().Set(http.TrailerPrefix+"X-Mine", v)
	}
	w.Write(body)
}

func TestAClientOfNetHTTPIsServed(t *testing.T) {
	tt := newTester(t)
	tr := tt.transport()
	url := "http://" + tt.serve(handler(echo))
	for _, size := range []int{0, 1, 1000, 16384, 70_000, 3_000_000} {
		body := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		req := request(t, "POST", url+"/a?b=c", io.MultiReader(bytes.NewReader(body))) // its length is not known
		req.Trailer = http.Header{"X-Mine": {"yes"}}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(size, err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d octets: got %d, %v", size, len(got), err)
		}
		if resp.Trailer.Get("X-Sum") != strconv.Itoa(size) || resp.Trailer.Get("X-Mine") != "yes" || resp.Header.Get("X-Path") != "/a?b=c" || "http://"+resp.Header.Get("X-Host") != url {
			t.Errorf("%d octets: head %v, trailers %v", size, resp.Header, resp.Trailer)
		}
	}
	if n := tt.all.ResetsOut.Load() + tt.all.ResetsIn.Load() + tt.all.GoawaysOut.Load(); n != 0 {
		t.Errorf("%d resets and GOAWAYs", n)
	}
	if n := tt.connections(); n != 1 || tt.all.Streams.Load() != 6 {
		t.Errorf("%d connections, %d streams", n, tt.all.Streams.Load())
	}
}

func TestManyStreamsAtOnce(t *testing.T) {
	tt := newTester(t)
	tr := tt.transport()
	url := "http://" + tt.serve(handler(echo))
	if resp, err := tr.RoundTrip(request(t, "GET", url, nil)); err != nil { // it knows our limit now
		t.Fatal(err)
	} else {
		resp.Body.Close()
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			body := strings.Repeat(strconv.Itoa(i), 1+i*500)
			resp, err := tr.RoundTrip(request(t, "POST", url, strings.NewReader(body)))
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(got) != body {
				t.Errorf("stream %d: %d octets of %d, %v", i, len(got), len(body), err)
			}
		})
	}
	wg.Wait()
	if n := tt.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	tt.until("no stream is left", func() bool { return tt.server(0).Streams() == 0 })
}

func TestDrainServesWhatHasBegunAndClosesTheConnection(t *testing.T) {
	tt := newTester(t)
	tr := tt.transport()
	began, goOn := make(chan struct{}), make(chan struct{})
	addr := tt.serve(handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			io.ReadAll(r.Body)
		}
		io.WriteString(w, "served")
	}))
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		resp, err := tr.RoundTrip(request(t, "POST", "http://"+addr+"/slow", pr))
		if err == nil {
			var b []byte
			if b, err = io.ReadAll(resp.Body); string(b) != "served" {
				err = errors.Join(err, errors.New("answer is "+string(b)))
			}
			resp.Body.Close()
		}
		done <- err
	}()
	<-began
	close(goOn)
	tt.on(tt.server(0).Drain)
	tt.until("the client has seen it", func() bool { return tt.server(0).c.drain == draining })
	if resp, err := tr.RoundTrip(request(t, "GET", "http://"+addr+"/", nil)); err != nil {
		t.Error(err)
	} else {
		resp.Body.Close()
	}
	pw.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-tt.errs; err != nil {
		t.Error("the connection's end:", err)
	}
	if n := tt.connections(); n != 2 {
		t.Errorf("%d connections, the new stream should have gone to another", n)
	}
}
