package config

import "time"

// Service is one upstream service and the sockets that lead to it.
type Service struct {
	Name string `key:"name" check:"name" doc:"the service's name here, in the log and in metrics"`
	// Listen has at least one address.
	Listen   []Address `key:"listen" doc:"ip:port, unix:/path or systemd:name (an inherited socket), or a list of these; port 0: the system chooses"`
	Protocol string    `key:"protocol" default:"http" allowed:"http|tcp" doc:"http balances each request, tcp each connection"`
	// UpstreamProtocol is UpstreamAuto for protocol tcp.
	UpstreamProtocol string `key:"upstream_protocol" default:"auto" allowed:"auto|http1|h2c" doc:"what endpoints are spoken to in; auto: gRPC in HTTP/2, everything else in HTTP/1.1; h2c: HTTP/2, with or without TLS"`
	OnDown           string `key:"on_down" default:"keep" allowed:"keep|close" doc:"tcp sessions and tunnels of an endpoint that left or is down"`

	// AcceptProxyFrom holds networks, each as netip.ParsePrefix reads it.
	AcceptProxyFrom []string `key:"accept_proxy_from" default:"" check:"network" doc:"networks whose clients must begin with a PROXY header (version 1 or 2), such as [\"10.0.0.0/8\"]; from others none is taken"`
	// SendProxy is SendProxyOff for protocol http.
	SendProxy string `key:"send_proxy" default:"off" allowed:"off|v1|v2" doc:"for protocol tcp: tell endpoints who the client is by a PROXY header"`
	// SNI is in small letters, and empty for protocol http and where TLS ends here. Services that
	// share an address differ in it, and one of them at most has none.
	SNI []string `key:"sni" default:"" check:"server_name" doc:"for protocol tcp: only TLS clients that ask for one of these names, such as [\"*.orders.example\"]; services may share an address then"`

	Discovery   Discovery   `key:"discovery" doc:"Where the instances come from."`
	Balancer    Balancer    `key:"balancer" doc:"How an endpoint is chosen."`
	Breaker     Breaker     `key:"breaker" doc:"When an endpoint is left out after failures, and what it takes at once."`
	Limit       Limit       `key:"limit" doc:"What the service takes at once, all endpoints together; what is beyond it is refused."`
	Retry       Retry       `key:"retry" doc:"Further tries, on another endpoint where there is one."`
	Hedge       Hedge       `key:"hedge" doc:"A second copy of a safe request that takes long; for protocol http."`
	Timeout     Timeout     `key:"timeout" doc:"How long things may take."`
	HealthCheck HealthCheck `key:"health_check" doc:"The sidecar's own probes of each endpoint."`
	Fallback    Fallback    `key:"fallback" doc:"What serves when no endpoint is usable."`
	HTTP        HTTP        `key:"http" doc:"What is particular to protocol http."`
	HTTP2       HTTP2       `key:"http2" doc:"Bounds of HTTP/2; for protocol http."`
	TLS         TLS         `key:"tls" doc:"TLS with clients, on listen."`
	UpstreamTLS UpstreamTLS `key:"upstream_tls" doc:"TLS with endpoints."`
}

// Fallback is what serves when no endpoint is usable: the instances, and a fixed response where
// there are none. A service of protocol tcp has instances only.
type Fallback struct {
	Instances []string `key:"instances" default:"" check:"instance" doc:"take the traffic then, such as [\"10.0.0.9:8080 weight=2\"]; empty: none"`
	// Status is 0, or 200 to 599. The keys after it have their defaults where it is 0.
	Status      int    `key:"status" default:"0" min:"0" max:"599" check:"status" doc:"of a fixed response, 200 or more; 0: there is none"`
	ContentType string `key:"content_type" default:"text/plain; charset=utf-8" check:"media_type" doc:"Content-Type of the fixed response"`
	// Body is at most 64 KiB, and may have line breaks.
	Body string `key:"body" default:"" check:"body" doc:"of the fixed response, at most 64 KiB"`
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
