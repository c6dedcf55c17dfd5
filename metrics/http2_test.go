package metrics

import (
	"strings"
	"testing"
)

func TestHTTP2IsCountedBySide(t *testing.T) {
	r := New(Options{Loops: 2})
	for loop := range 2 {
		s := r.HTTP("orders").Shard(loop)
		for side, n := range map[*HTTP2]uint64{&s.Clients: 1, &s.Endpoints: 10} {
			side.Connections.Add(n)
			side.Streams.Add(2 * n)
			side.Refused.Add(3 * n)
			side.ResetsIn.Add(4 * n)
			side.ResetsOut.Add(5 * n)
			side.GoawaysIn.Add(6 * n)
			side.GoawaysOut.Add(7 * n)
			side.PingsLost.Add(8 * n)
			side.Floods[FloodResets].Add(9 * n)
			side.Floods[FloodStall].Add(10 * n)
		}
	}
	got := scrape(t, r)
	for side, n := range map[string]float64{"client": 2, "endpoint": 20} {
		by := `service="orders",side="` + side + `"}`
		got.want(t, `sidecar_http2_connections_total{`+by, n)
		got.want(t, `sidecar_http2_streams_total{`+by, 2*n)
		got.want(t, `sidecar_http2_refused_streams_total{`+by, 3*n)
		got.want(t, `sidecar_http2_resets_total{direction="received",`+by, 4*n)
		got.want(t, `sidecar_http2_resets_total{direction="sent",`+by, 5*n)
		got.want(t, `sidecar_http2_goaways_total{direction="received",`+by, 6*n)
		got.want(t, `sidecar_http2_goaways_total{direction="sent",`+by, 7*n)
		got.want(t, `sidecar_http2_pings_lost_total{`+by, 8*n)
		got.want(t, `sidecar_http2_abuse_total{kind="resets",`+by, 9*n)
		got.want(t, `sidecar_http2_abuse_total{kind="stall",`+by, 10*n)
		got.want(t, `sidecar_http2_abuse_total{kind="pings",`+by, 0)
	}
}

func TestASideWithoutHTTP2HasNoSeries(t *testing.T) {
	r := New(Options{})
	r.HTTP("orders").Shard(0).Clients.Connections.Add(1)
	r.HTTP("old")
	got := scrape(t, r)
	got.want(t, `sidecar_http2_streams_total{service="orders",side="client"}`, 0)
	for series := range got {
		if strings.HasPrefix(series, "sidecar_http2_") && (strings.Contains(series, `"endpoint"`) || strings.Contains(series, `"old"`)) {
			t.Errorf("%s is there", series)
		}
	}
}

func TestFloodsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{"other": true}
	for k := range FloodKinds {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("%d is %q", k, name)
		}
		seen[k.String()] = true
	}
	if FloodKinds.String() != "other" {
		t.Errorf("what is no kind is %q", FloodKinds)
	}
}
