package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP2 is what one loop has counted on connections of HTTP/2 of one side: those of clients, or
// those to endpoints. Its fields may be used by any goroutine; they are those of the counters of
// proxy/http/h2, which counts by itself.
type HTTP2 struct {
	Connections atomic.Uint64 // begun
	Streams     atomic.Uint64 // opened
	Refused     atomic.Uint64 // … and refused: a client's by us, or ours by an endpoint
	ResetsIn    atomic.Uint64 // streams that the peer has reset
	ResetsOut   atomic.Uint64 // … that we have
	GoawaysIn   atomic.Uint64
	GoawaysOut  atomic.Uint64
	PingsLost   atomic.Uint64 // connections given up because a ping was not answered
	Floods      [FloodKinds]atomic.Uint64
}

// A FloodKind is what a connection of HTTP/2 was ended for, with ENHANCE_YOUR_CALM where the peer
// could still be told.
type FloodKind uint8

// The kinds there are. proxy/http/h2 says what each of them is.
const (
	FloodResets FloodKind = iota
	FloodSettings
	FloodPings
	FloodPriorities
	FloodEmpty
	FloodWindows
	FloodHeaders
	FloodBacklog
	FloodStall

	// FloodKinds is how many there are.
	FloodKinds
)

func (k FloodKind) String() string {
	names := [FloodKinds]string{"resets", "settings", "pings", "priorities", "empty", "windows", "headers", "backlog", "stall"}
	if k < FloodKinds {
		return names[k]
	}
	return "other"
}

// The sides of a connection: the values of the label side.
const (
	sideClient = iota
	sideEndpoint
	sides
)

type http2Descs struct {
	connections, streams, refused, resets, goaways, pingsLost, abuse *prometheus.Desc
}

func newHTTP2Descs() http2Descs {
	const sub = "http2"
	by := func(more ...string) []string { return append([]string{"service", "side"}, more...) }
	return http2Descs{
		connections: desc(sub, "connections_total", "Connections of HTTP/2 with clients and with endpoints.", by()...),
		streams:     desc(sub, "streams_total", "Streams opened by clients and to endpoints.", by()...),
		refused:     desc(sub, "refused_streams_total", "Streams refused: of clients beyond http2.max_streams, or by endpoints.", by()...),
		resets:      desc(sub, "resets_total", "Streams ended by RST_STREAM, received from that side or sent to it.", by("direction")...),
		goaways:     desc(sub, "goaways_total", "GOAWAY received from that side or sent to it.", by("direction")...),
		pingsLost:   desc(sub, "pings_lost_total", "Connections given up because a ping was not answered.", by()...),
		abuse:       desc(sub, "abuse_total", "Connections ended because of abuse, with ENHANCE_YOUR_CALM; the log names who it was.", by("kind")...),
	}
}

func (d *http2Descs) describe(ch chan<- *prometheus.Desc) {
	describe(ch, d.connections, d.streams, d.refused, d.resets, d.goaways, d.pingsLost, d.abuse)
}

// collect sends what has been counted of the sides that have had a connection of HTTP/2 at all.
func (d *http2Descs) collect(ch chan<- prometheus.Metric, service string, t *[sides]http2Total) {
	for i, side := range [sides]string{sideClient: "client", sideEndpoint: "endpoint"} {
		s := &t[i]
		if s.connections == 0 {
			continue
		}
		counter(ch, d.connections, s.connections, service, side)
		counter(ch, d.streams, s.streams, service, side)
		counter(ch, d.refused, s.refused, service, side)
		counter(ch, d.resets, s.resetsIn, service, side, "received")
		counter(ch, d.resets, s.resetsOut, service, side, "sent")
		counter(ch, d.goaways, s.goawaysIn, service, side, "received")
		counter(ch, d.goaways, s.goawaysOut, service, side, "sent")
		counter(ch, d.pingsLost, s.pingsLost, service, side)
		for k, n := range s.abuse {
			counter(ch, d.abuse, n, service, side, FloodKind(k).String())
		}
	}
}

// http2Total is the sum of one side over all shards, taken for one scrape.
type http2Total struct {
	connections, streams, refused, resetsIn, resetsOut uint64
	goawaysIn, goawaysOut, pingsLost                   uint64
	abuse                                              [FloodKinds]uint64
}

func (t *http2Total) add(h *HTTP2) {
	t.connections += h.Connections.Load()
	t.streams += h.Streams.Load()
	t.refused += h.Refused.Load()
	t.resetsIn += h.ResetsIn.Load()
	t.resetsOut += h.ResetsOut.Load()
	t.goawaysIn += h.GoawaysIn.Load()
	t.goawaysOut += h.GoawaysOut.Load()
	t.pingsLost += h.PingsLost.Load()
	for k := range h.Floods {
		t.abuse[k] += h.Floods[k].Load()
	}
}
