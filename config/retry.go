package config

import "time"

// Retry says what is tried again.
type Retry struct {
	Attempts int `key:"attempts" default:"2" min:"0" max:"20" doc:"tries after the first"`
	// On holds RetryConnect and the words after it, and three-digit statuses.
	On      []string      `key:"on" default:"connect,reset,refused-stream,timeout,502,503,504" check:"retry" doc:"refused-stream: an HTTP/2 endpoint did not begin; timeout: per_try ran out; any of 500 to 599"`
	PerTry  time.Duration `key:"per_try" default:"0s" doc:"how long one try may wait for the response head; 0s: as long as the request"`
	Stalled time.Duration `key:"stalled" default:"1s" doc:"a second copy goes elsewhere when the endpoint has sent nothing to anyone for this long, and the others were not silent too; 0s: off"`
	// Backoff is at most BackoffMax: of the two a default gives way to what was set.
	Backoff       time.Duration `key:"backoff" default:"25ms" doc:"the longest wait before the first retry; doubles with each further one, with full jitter; 0s: none"`
	BackoffMax    time.Duration `key:"backoff_max" default:"250ms" doc:"the longest wait before any retry"`
	RetryAfterMax time.Duration `key:"retry_after_max" default:"1s" doc:"the longest Retry-After that is waited for when there is no other endpoint; 0s: none is"`
	Budget        float64       `key:"budget" default:"0.2" min:"0" max:"1" doc:"share of requests that may be retries"`
	BudgetMin     int           `key:"budget_min" default:"10" min:"0" max:"1000000" doc:"retries per second that are allowed in any case"`
}

// Hedge says when a second copy of a safe request goes to another endpoint. The response that
// comes first counts, and the other copy is cancelled.
type Hedge struct {
	Enabled    bool          `key:"enabled" default:"false" doc:"send a second copy elsewhere when the first takes longer than most"`
	Percentile float64       `key:"percentile" default:"0.95" min:"0.5" max:"0.999" doc:"of the measured latency, after which the copy is sent"`
	MinDelay   time.Duration `key:"min_delay" default:"1ms" min:"1ms" doc:"no copy is sent earlier than this"`
	Budget     float64       `key:"budget" default:"0.05" min:"0" max:"1" doc:"share of requests that may be such copies"`
}

// Timeout says how long things may take. 0s is no limit, except for Connect, which has one in any
// case, and UpstreamIdle, where connections are then not kept.
type Timeout struct {
	Connect      time.Duration `key:"connect" default:"1s" min:"1ms" doc:"connecting to an endpoint"`
	Request      time.Duration `key:"request" default:"15s" doc:"from a request to its response head, all tries together; 0s: no limit"`
	Header       string        `key:"header" default:"" check:"field_name" doc:"request header in which a client says how long it will wait; empty: none"`
	Idle         time.Duration `key:"idle" default:"1h" doc:"tcp sessions and tunnels without a byte either way; 0s: no limit"`
	UpstreamIdle time.Duration `key:"upstream_idle" default:"4s" doc:"unused connections, until the server names its own limit; 0s: none are kept"`
}
