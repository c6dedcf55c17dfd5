package http

import (
	"net/netip"
	"testing"

	"sidecar/upstream"
)

// plain is a hash that a person can follow: the sum of the bytes and their number, never 0.
func plain(b []byte) uint64 {
	sum := uint64(len(b)) << 32
	for i, c := range b {
		sum += uint64(c) * uint64(i+1)
	}
	return sum + 1
}

// byHash picks by the key's hash, and remembers which there were.
type byHash struct {
	endpoints []*upstream.Endpoint
	keys      chan<- upstream.PickKey
}

func (p byHash) Pick(key upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	p.keys <- key
	return ordered(p.endpoints).Pick(key, avoid)
}

func TestHashOfARequest(t *testing.T) {
	of := func(s string) uint64 { return plain([]byte(s)) }
	client := netip.MustParseAddr("127.0.0.1").As16()
	by := func(by HashBy, name string) HashKey { return HashKey{By: by, Name: name, Hash: plain} }
	for _, c := range []struct {
		key     HashKey
		request string
		want    uint64
	}{
		{HashKey{}, get, 0},
		{by(HashClient, ""), get, plain(client[:])},
		{by(HashPath, ""), lines("GET /a/b?c=d HTTP/1.1", "Host: a"), of("/a/b")},
		{by(HashPath, ""), lines("GET /a/b HTTP/1.1", "Host: a"), of("/a/b")},
		{by(HashPath, ""), lines("GET http://x.example/a/b?c=d HTTP/1.1", "Host: a"), of("/a/b")},
		{by(HashPath, ""), lines("OPTIONS * HTTP/1.1", "Host: a"), of("*")},
		{by(HashHeader, "x-user"), lines("GET / HTTP/1.1", "Host: a", "X-User:  7 "), of("7")},
		{by(HashHeader, "X-User"), lines("GET / HTTP/1.1", "Host: a", "x-user: 7", "x-user: 8"), of("7")},
		{by(HashHeader, "x-user"), lines("GET / HTTP/1.1", "Host: a", "X-User:"), 0},
		{by(HashHeader, "x-user"), get, 0},
		{by(HashCookie, "id"), lines("GET / HTTP/1.1", "Host: a", "Cookie: id=7"), of("7")},
		{by(HashCookie, "id"), lines("GET / HTTP/1.1", "Host: a", `Cookie: a=b; id="7"; c=d`), of("7")},
		{by(HashCookie, "id"), lines("GET / HTTP/1.1", "Host: a", "Cookie: a=b;id=x=y"), of("x=y")},
		{by(HashCookie, "id"), lines("GET / HTTP/1.1", "Host: a", "Cookie: a=b; no", "Cookie: c=d; id=7; id=8"), of("7")},
		{by(HashCookie, "id"), lines("GET / HTTP/1.1", "Host: a", "Cookie: ID=7; xid=8; id"), 0},
		{by(HashCookie, "id"), lines("GET / HTTP/1.1", "Host: a", "Cookie: id="), 0},
		{by(HashCookie, "id"), get, 0},
	} {
		o := newOrigin(t)
		keys := make(chan upstream.PickKey, 10)
		r := newRig(t, setup{
			origins: []string{o.addr}, options: func(o *Options) { o.HashKey = c.key },
			service: func(o *upstream.Options) {
				o.Policy = func(c upstream.Candidates) upstream.Picker { return byHash{c.Endpoints, keys} }
			},
		})
		client := r.dial()
		client.say(c.request)
		s := o.accept()
		s.head()
		if got := (<-keys).Hash; got != c.want {
			t.Errorf("%q: %x, want %x", c.request, got, c.want)
		}
		s.say(lines("HTTP/1.1 204 No"))
		client.hear(lines("HTTP/1.1 204 No"))
	}
}

func TestPickerIsToldWhatMayBeRepeated(t *testing.T) {
	o := newOrigin(t)
	keys := make(chan upstream.PickKey, 10)
	r := newRig(t, setup{origins: []string{o.addr}, service: func(o *upstream.Options) {
		o.Policy = func(c upstream.Candidates) upstream.Picker { return byHash{c.Endpoints, keys} }
	}})
	for request, want := range map[string]bool{
		get: true, post: false,
		lines("POST / HTTP/1.1", "Host: a", "Idempotency-Key: 1", "Content-Length: 0"): true,
	} {
		c := r.dial()
		c.say(request)
		s := o.accept()
		s.hear(request)
		if got := (<-keys).Repeatable; got != want {
			t.Errorf("%q: %v", request, got)
		}
		s.say(ok)
		c.hear(ok)
		s.close()
		r.pooled(0)
	}
}
