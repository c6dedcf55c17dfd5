package config

import "time"

// HealthCheck is the sidecar's own probe of each endpoint. Keys that do not belong to Type have
// their defaults.
type HealthCheck struct {
	Probe
	KeepDropped bool `key:"keep_dropped" default:"false" doc:"an instance that the registry dropped serves on while it passes this check"`
}

// Probe is how something is asked whether it is well, and how often: an endpoint, or the local
// service that is announced.
type Probe struct {
	Type   string `key:"type" default:"none" allowed:"none|tcp|http|grpc" doc:"kind of probe; grpc: grpc.health.v1"`
	Path   string `key:"path" default:"/healthz" check:"path" doc:"for type http: what is asked for"`
	Method string `key:"method" default:"GET" allowed:"GET|HEAD|OPTIONS|POST" doc:"for type http"`
	Host   string `key:"host" default:"" check:"host" doc:"for types http and grpc: the Host that is asked for; empty: the address that is asked"`
	// Headers holds items such as "Name: value". They are shown as they are, so that secrets
	// do not belong here. One with a comma cannot be set from the environment.
	Headers []string `key:"headers" default:"" check:"header" doc:"for type http, further header fields, such as [\"X-Probe: sidecar\"]"`
	// Statuses holds statuses and ranges of them, both ends included, with commas between them.
	Statuses string `key:"statuses" default:"200-399" check:"statuses" doc:"for type http: what passes, such as 200-299,301"`
	// Body is a regular expression in the syntax of package regexp.
	Body    string `key:"body" default:"" check:"regexp" doc:"for type http: regular expression that the response body must match; empty: any body"`
	Service string `key:"service" default:"" check:"text" doc:"for type grpc: the service that is asked about; empty: the server as a whole"`

	Interval time.Duration `key:"interval" default:"5s" min:"10ms" doc:"between two probes, with jitter"`
	// DownInterval is 0s or at least 10ms.
	DownInterval time.Duration `key:"down_interval" default:"0s" doc:"the same while what is probed is down; 0s: as interval"`
	// Timeout is at most Interval: the default is lowered to it.
	Timeout time.Duration `key:"timeout" default:"1s" min:"1ms" doc:"of one probe; at most interval"`
	Rise    int           `key:"rise" default:"2" min:"1" max:"1000" doc:"probes in a row that must pass before it is up again"`
	Fall    int           `key:"fall" default:"3" min:"1" max:"1000" doc:"probes in a row that must fail before it is down"`
}
