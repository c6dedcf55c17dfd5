package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What can be measured, in the order in which it is.
const (
	measureHTTP      = "http"  // one loop, pinned
	measureHTTPLoops = "http2" // several loops, unpinned
	measureTCP       = "tcp"   // small messages
	measureLarge     = "large" // HTTP, large bodies
	measureBulk      = "bulk"  // large streams, both directions
	measureIdle      = "idle"  // memory of idle connections
	measureH2        = "h2"    // HTTP/2 to HTTP/1.1
	measureGRPC      = "grpc"  // calls of gRPC

	measureTLS        = "tls"        // HTTP over TLS, small answers and large bodies
	measureHandshakes = "handshakes" // of TLS
	measureObserved   = "observed"   // HTTP with access log, metrics and traces
)

var allMeasures = []string{
	measureHTTP, measureHTTPLoops, measureLarge, measureTCP, measureBulk, measureIdle,
	measureH2, measureGRPC, measureTLS, measureHandshakes, measureObserved,
}

// The proxies that can be asked for.
const (
	nameSidecar  = "sidecar"
	nameBaseline = "baseline"
	nameHAProxy  = "haproxy"
	nameNginx    = "nginx"
	nameDirect   = "direct" // no proxy: what the load and the origin can do by themselves
)

// options is a run as asked for on the command line.
type options struct {
	measure      []string
	proxies      []string
	sidecar      string // path; built from ./cmd/sidecar if empty
	baseline     string // path of a second sidecar binary, or empty
	streamModule string // path of nginx's stream module; looked for if empty
	connections  []int
	duration     time.Duration
	rounds       int
	loops        int
	bulkBytes    int64
	bulkConns    int
	idleConns    int
	proxyCore    int
	loadCore     int
	limit        time.Duration
}

func parseOptions(args []string, out io.Writer) (options, error) {
	var (
		o     options
		set   = flag.NewFlagSet("bench", flag.ContinueOnError)
		quick = set.Bool("quick", false, "one round of 1 s each and 1 GiB of bulk: a look, not a result")
		idle  = set.Bool("idle", false, "short for -measure idle")

		measure = set.String("measure", strings.Join(allMeasures, ","), "what to measure")
		proxies = set.String("proxies", "sidecar,haproxy,nginx", `the proxies, in their order; "direct" is the load without a proxy`)
		conns   = set.String("connections", "8,64,512", "connections of the http tables")
	)
	set.SetOutput(out)
	set.StringVar(&o.sidecar, "sidecar", "", "`path` of the sidecar binary (default: built from ./cmd/sidecar)")
	set.StringVar(&o.baseline, "baseline", "", "`path` of a second sidecar binary to measure in the same run")
	set.StringVar(&o.streamModule, "nginx-stream-module", "", "`path` of ngx_stream_module.so (default: looked for)")
	set.DurationVar(&o.duration, "duration", 5*time.Second, "length of one run; whole seconds")
	set.IntVar(&o.rounds, "rounds", 3, "runs per proxy and combination; the tables hold medians")
	set.IntVar(&o.loops, "loops", 2, "loops, threads or workers in the table http2")
	set.Int64Var(&o.bulkBytes, "bulk-bytes", 4<<30, "bytes moved per bulk run, over all connections")
	set.IntVar(&o.bulkConns, "bulk-connections", 4, "connections of a bulk run")
	set.IntVar(&o.idleConns, "idle-connections", 10_000, "idle connections of the table idle")
	set.IntVar(&o.proxyCore, "proxy-core", 0, "core of the pinned proxy")
	set.IntVar(&o.loadCore, "load-core", 1, "core of the origin, and of the load when the proxy is pinned")
	set.DurationVar(&o.limit, "limit", time.Hour, "give up after this time")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}

	o.measure = splitList(*measure)
	if *idle {
		o.measure = []string{measureIdle}
	}
	o.proxies = splitList(*proxies)
	for _, field := range splitList(*conns) {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-connections: %q is not a positive number", field)
		}
		o.connections = append(o.connections, n)
	}
	if *quick {
		o.duration, o.rounds, o.bulkBytes = time.Second, 1, 1<<30
	}
	if o.baseline != "" && !slices.Contains(o.proxies, nameBaseline) {
		o.proxies = insertBaseline(o.proxies)
	}
	return o, o.validate()
}

// insertBaseline puts the baseline next to sidecar, so that their turns follow one another.
func insertBaseline(proxies []string) []string {
	return slices.Insert(proxies, slices.Index(proxies, nameSidecar)+1, nameBaseline)
}

func (o options) validate() error {
	for _, m := range o.measure {
		if !slices.Contains(allMeasures, m) {
			return fmt.Errorf("-measure: %q is none of %s", m, strings.Join(allMeasures, ", "))
		}
	}
	known := []string{nameSidecar, nameBaseline, nameHAProxy, nameNginx, nameDirect}
	for i, p := range o.proxies {
		if !slices.Contains(known, p) {
			return fmt.Errorf("-proxies: %q is none of %s", p, strings.Join(known, ", "))
		}
		if slices.Contains(o.proxies[:i], p) {
			return fmt.Errorf("-proxies: %q is named twice", p)
		}
	}
	cores := runtime.NumCPU()
	switch {
	case len(o.measure) == 0 || len(o.proxies) == 0 || len(o.connections) == 0:
		return errors.New("nothing to measure")
	case slices.Contains(o.proxies, nameBaseline) && o.baseline == "":
		return errors.New("-proxies: baseline needs -baseline PATH")
	case o.duration < time.Second || o.duration%time.Second != 0:
		return errors.New("-duration: wrk takes whole seconds, from 1s")
	case o.rounds < 1 || o.loops < 1 || o.bulkConns < 1 || o.idleConns < 1:
		return errors.New("rounds, loops and connections must be positive")
	case o.bulkBytes < int64(o.bulkConns):
		return errors.New("-bulk-bytes: less than a byte per connection")
	case o.proxyCore == o.loadCore:
		return errors.New("the proxy and the load need a core each")
	case min(o.proxyCore, o.loadCore) < 0 || max(o.proxyCore, o.loadCore) >= cores:
		return fmt.Errorf("cores %d and %d: this process may use %d", o.proxyCore, o.loadCore, cores)
	}
	return nil
}

func splitList(s string) []string {
	var list []string
	for field := range strings.SplitSeq(s, ",") {
		if field = strings.TrimSpace(field); field != "" {
			list = append(list, field)
		}
	}
	return list
}
