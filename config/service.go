package config

import "time"

// Service is one upstream service and the sockets that lead to it.
type Service struct {
	Name string `key:"name" check:"name" doc:"the service's name here, in the log and in metrics"`
	// Listen has at least one address.
	Listen   []Address `key:"listen" doc:"ip:port or unix:/path, or a list of these; port 0: the system chooses"`
	Protocol string    `key:"protocol" default:"http" allowed:"http|tcp" doc:"http balances each request, tcp each connection"`
	OnDown   string    `key:"on_down" default:"keep" allowed:"keep|close" doc:"tcp sessions and tunnels of an endpoint that left or is down"`

	Discovery   Discovery   `key:"discovery" doc:"Where the instances come from."`
	Balancer    Balancer    `key:"balancer" doc:"How an endpoint is chosen."`
	Breaker     Breaker     `key:"breaker" doc:"When an endpoint is left out after failures."`
	Retry       Retry       `key:"retry" doc:"Further tries, on another endpoint where there is one."`
	Timeout     Timeout     `key:"timeout" doc:"How long things may take."`
	HealthCheck HealthCheck `key:"health_check" doc:"The sidecar's own probes of each endpoint."`
	HTTP        HTTP        `key:"http" doc:"What is particular to protocol http."`
}

// Discovery says where a service's instances come from.
type Discovery struct {
	Source string `key:"source" default:"consul" allowed:"consul|static" later:"dns|file|etcd" doc:"who knows the instances"`
	// Service is the service's own name unless it was set.
	Service   string   `key:"service" default:"" check:"text" doc:"name in the registry; the service's own name by default"`
	Tags      []string `key:"tags" default:"" check:"text" doc:"only instances that have all of these tags, such as [\"v2\"]"`
	Instances []string `key:"instances" default:"" check:"instance" doc:"for source static, such as [\"10.0.0.1:8080\", \"10.0.0.2:8080 weight=2 zone=b\"]"`
	Warning   bool     `key:"warning" default:"true" doc:"instances in state warning take traffic, by their warning weight"`
}

// Balancer says how an endpoint is chosen.
type Balancer struct {
	Policy string `key:"policy" default:"p2c" allowed:"p2c|least_conn|round_robin|random" later:"ring_hash" doc:"how one is chosen; p2c: the better of two"`
}

// Breaker says when an endpoint is ejected.
type Breaker struct {
	ConsecutiveFailures int `key:"consecutive_failures" default:"5" min:"0" max:"1000000" doc:"failures in a row (connect, reset, timeout, 5xx) that eject; 0: never"`
	// Open is at most OpenMax: of the two a default gives way to what was set.
	Open        time.Duration `key:"open" default:"1s" min:"1ms" doc:"the first ejection; each further one doubles, with jitter"`
	OpenMax     time.Duration `key:"open_max" default:"60s" min:"1ms" doc:"the longest ejection"`
	MaxEjected  float64       `key:"max_ejected" default:"0.5" min:"0" max:"1" doc:"share of a service's endpoints that may be ejected at once"`
	MaxInFlight int           `key:"max_in_flight" default:"0" min:"0" max:"10000000" doc:"requests or sessions of one endpoint at once; 0: no limit"`
}

// Retry says what is tried again.
type Retry struct {
	Attempts int `key:"attempts" default:"2" min:"0" max:"20" doc:"tries after the first"`
	// On holds "connect", "reset", "timeout" and three-digit statuses.
	On        []string      `key:"on" default:"connect,reset,timeout,502,503,504" check:"retry" doc:"timeout: per_try ran out; any of 500 to 599"`
	PerTry    time.Duration `key:"per_try" default:"0s" doc:"how long one try may wait for the response head; 0s: as long as the request"`
	Budget    float64       `key:"budget" default:"0.2" min:"0" max:"1" doc:"share of requests that may be retries"`
	BudgetMin int           `key:"budget_min" default:"10" min:"0" max:"1000000" doc:"retries per second that are allowed in any case"`
}

// Timeout says how long things may take. 0s is no limit, except for Connect, which has one in any
// case, and UpstreamIdle, where connections are then not kept.
type Timeout struct {
	Connect      time.Duration `key:"connect" default:"1s" min:"1ms" doc:"connecting to an endpoint"`
	Request      time.Duration `key:"request" default:"15s" doc:"from a request to its response head, all tries together; 0s: no limit"`
	Idle         time.Duration `key:"idle" default:"1h" doc:"tcp sessions and tunnels without a byte either way; 0s: no limit"`
	UpstreamIdle time.Duration `key:"upstream_idle" default:"4s" doc:"unused connections, until the server names its own limit; 0s: none are kept"`
}

// HealthCheck is the sidecar's own probe of each endpoint.
type HealthCheck struct {
	Type     string        `key:"type" default:"none" allowed:"none|tcp|http" later:"grpc" doc:"kind of probe"`
	Path     string        `key:"path" default:"/healthz" check:"path" doc:"for type http: what is asked for with GET; 2xx and 3xx pass"`
	Interval time.Duration `key:"interval" default:"5s" min:"10ms" doc:"between two probes of an endpoint, with jitter"`
	// Timeout is at most Interval: the default is lowered to it.
	Timeout time.Duration `key:"timeout" default:"1s" min:"1ms" doc:"of one probe; at most interval"`
	Rise    int           `key:"rise" default:"2" min:"1" max:"1000" doc:"probes in a row that must pass before an endpoint is up again"`
	Fall    int           `key:"fall" default:"3" min:"1" max:"1000" doc:"probes in a row that must fail before an endpoint is down"`
}

// HTTP is what is particular to protocol http.
type HTTP struct {
	XForwardedFor   string        `key:"x_forwarded_for" default:"append" allowed:"append|set|off" doc:"the client's address, after or instead of what came"`
	XForwardedProto bool          `key:"x_forwarded_proto" default:"true" doc:"say http or https, as the client spoke it"`
	XForwardedHost  bool          `key:"x_forwarded_host" default:"true" doc:"say which Host the client asked for"`
	Via             string        `key:"via" default:"sidecar" check:"pseudonym" doc:"name of this proxy in Via; empty: no Via is added"`
	Host            string        `key:"host" default:"" check:"host" doc:"the Host that endpoints see; empty: the client's"`
	MaxHead         int           `key:"max_head" default:"65536" min:"1024" max:"1048576" doc:"bytes of a request head (else 431) or response head (else 502)"`
	MaxFields       int           `key:"max_fields" default:"256" min:"8" max:"10000" doc:"header fields in a head"`
	MaxTarget       int           `key:"max_target" default:"16384" min:"256" max:"1048576" doc:"bytes of a request target, else 414"`
	MaxBody         int           `key:"max_body" default:"0" min:"0" doc:"bytes of a request body, else 413; 0: no limit"`
	HeadTimeout     time.Duration `key:"head_timeout" default:"10s" min:"1ms" doc:"for a client to send a request head, else 408"`
	ClientIdle      time.Duration `key:"client_idle" default:"75s" min:"1ms" doc:"keep-alive connection of a client without a request"`
	Pool            int           `key:"pool" default:"1024" min:"0" max:"100000" doc:"unused connections kept per endpoint and loop; 0: none"`
}

// The words that keys may be.
const (
	ProtocolHTTP = "http"
	ProtocolTCP  = "tcp"

	OnDownKeep  = "keep"
	OnDownClose = "close"

	SourceConsul = "consul"
	SourceStatic = "static"

	PolicyP2C        = "p2c"
	PolicyLeastConn  = "least_conn"
	PolicyRoundRobin = "round_robin"
	PolicyRandom     = "random"

	CheckNone = "none"
	CheckTCP  = "tcp"
	CheckHTTP = "http"

	ForwardedAppend = "append"
	ForwardedSet    = "set"
	ForwardedOff    = "off"

	RetryConnect = "connect"
	RetryReset   = "reset"
	RetryTimeout = "timeout"
)
