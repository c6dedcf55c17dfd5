package config

import "time"

// Balancer says how an endpoint is chosen.
type Balancer struct {
	Policy string `key:"policy" default:"p2c" allowed:"p2c|least_conn|round_robin|random|ring_hash" doc:"how one is chosen; p2c: the better of two"`
	// HashKey is HashClient, HashPath, or HashHeader or HashCookie with a name behind it. It is
	// HashClient for protocol tcp, and for any other policy than PolicyRingHash.
	HashKey     string  `key:"hash_key" default:"client" check:"hash_key" doc:"for ring_hash, what stays with an endpoint: client (its address), path, header:NAME or cookie:NAME"`
	HashBalance float64 `key:"hash_balance" default:"1.25" min:"1" max:"10" doc:"for ring_hash: an endpoint takes at most this times the mean load, then the next on the ring"`
	// SlowStart is for an endpoint that comes to others, not for a set of which all are new.
	SlowStart time.Duration `key:"slow_start" default:"0s" doc:"an endpoint that arrives or comes back gets its share gradually over this time; 0s: at once"`
	ZoneAware bool          `key:"zone_aware" default:"true" doc:"endpoints of runtime.zone are preferred while they have the capacity"`
	Panic     float64       `key:"panic" default:"0.5" min:"0" max:"1" doc:"all that the registry lists are used, unless ejected, below this share of usable ones; 0: only when none is left"`
}

// Breaker says when an endpoint is ejected, and what one endpoint takes at once.
type Breaker struct {
	ConsecutiveFailures int     `key:"consecutive_failures" default:"5" min:"0" max:"1000000" doc:"failures in a row (connect, reset, timeout, 5xx) that eject; 0: never"`
	SuccessRate         float64 `key:"success_rate" default:"0.8" min:"0" max:"1" doc:"share of the requests within window that must succeed, or the endpoint is ejected; 0: off"`
	MinRequests         int     `key:"min_requests" default:"5" min:"5" max:"1000000" doc:"requests within window, at least, for success_rate to count"`
	// Window slides.
	Window time.Duration `key:"window" default:"10s" min:"1s" doc:"how far back success_rate looks"`
	// Open is at most OpenMax: of the two a default gives way to what was set.
	Open           time.Duration `key:"open" default:"1s" min:"1ms" doc:"the first ejection; each further one doubles, with jitter"`
	OpenMax        time.Duration `key:"open_max" default:"60s" min:"1ms" doc:"the longest ejection"`
	MaxEjected     float64       `key:"max_ejected" default:"0.5" min:"0" max:"1" doc:"share of a service's endpoints that may be ejected at once"`
	MaxInFlight    int           `key:"max_in_flight" default:"0" min:"0" max:"10000000" doc:"requests or sessions of one endpoint at once; 0: no limit"`
	MaxPending     int           `key:"max_pending" default:"0" min:"0" max:"10000000" doc:"requests that wait for a connection to one endpoint to be made; 0: no limit"`
	MaxConnections int           `key:"max_connections" default:"0" min:"0" max:"10000000" doc:"connections to one endpoint at once; 0: no limit"`
}

// Limit says what the service takes at once, all endpoints together. What is beyond it is
// refused without waiting, with 503 for protocol http.
type Limit struct {
	MaxInFlight    int `key:"max_in_flight" default:"0" min:"0" max:"10000000" doc:"requests or sessions at once; 0: no limit"`
	MaxPending     int `key:"max_pending" default:"0" min:"0" max:"10000000" doc:"requests that wait for a connection to be made; 0: no limit"`
	MaxConnections int `key:"max_connections" default:"0" min:"0" max:"10000000" doc:"connections to endpoints at once; 0: no limit"`
	// Adaptive comes on top of MaxInFlight: the lower of the two limits counts.
	Adaptive bool `key:"adaptive" default:"false" doc:"learn from latency how many may be in flight, and refuse the rest"`
	// AdaptiveMin is at most AdaptiveMax: of the two a default gives way to what was set.
	AdaptiveMin int `key:"adaptive_min" default:"5" min:"1" max:"100000" doc:"the least that adaptive may come down to"`
	AdaptiveMax int `key:"adaptive_max" default:"1000" min:"1" max:"100000" doc:"the most that adaptive may go up to"`
}
