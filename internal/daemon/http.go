package daemon

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"sidecar/balancer"
	"sidecar/config"
	"sidecar/metrics"
	"sidecar/proxy/http"
	"sidecar/proxy/http/h1"
	"sidecar/proxy/http/h2"
)

func httpSettings(s *service) http.Settings {
	c := s.config
	return http.Settings{
		Service: s.upstream,
		Forward: http.Forwarding{
			For: forwardedFor(c.HTTP.XForwardedFor), Proto: c.HTTP.XForwardedProto, Host: c.HTTP.XForwardedHost,
			Via: c.HTTP.Via, Date: true, Rewrite: c.HTTP.Host,
		},
		Limits:  h1.Limits{MaxHead: c.HTTP.MaxHead, MaxFields: c.HTTP.MaxFields, MaxTarget: c.HTTP.MaxTarget},
		MaxBody: int64(c.HTTP.MaxBody), CloseOnDown: c.OnDown == config.OnDownClose,
		Retry:   retry(&c.Retry),
		Hedge:   hedge(&c.Hedge),
		HashKey: hashKey(&c.Balancer), TimeoutHeader: c.Timeout.Header, Tracer: s.tracer,
		Fallback:    http.Fallback{Status: c.Fallback.Status, ContentType: c.Fallback.ContentType, Body: c.Fallback.Body},
		HeadTimeout: c.HTTP.HeadTimeout, ClientIdle: c.HTTP.ClientIdle,
		ConnectTimeout: c.Timeout.Connect, RequestTimeout: c.Timeout.Request,
		UpstreamIdle: c.Timeout.UpstreamIdle, StreamIdle: c.Timeout.Idle, PoolPerEndpoint: poolSize(c),
		AcceptFrom: senders(c.AcceptProxyFrom),
		TLS:        terminationConfig(s.tls), UpstreamTLS: upstreamTLS(s.upstreamTLS),
		Upstream: upstreamProtocol(c.UpstreamProtocol),
		HTTP2: h2.Options{
			MaxStreams: uint32(c.HTTP2.MaxStreams), HeaderList: c.HTTP2.HeaderList,
			Window: c.HTTP2.Window, ConnWindow: c.HTTP2.ConnectionWindow, Ping: ping(c.HTTP2.Ping),
		},
	}
}

// ping turns the configuration's "0s: never" into a time that never comes.
func ping(d time.Duration) time.Duration {
	if d == 0 {
		return 365 * 24 * time.Hour
	}
	return d
}

func upstreamProtocol(word string) http.Upstream {
	switch word {
	case config.UpstreamHTTP1:
		return http.UpstreamHTTP1
	case config.UpstreamH2C:
		return http.UpstreamH2C
	}
	return http.UpstreamAuto
}

// poolSize is 0 also where unused connections are not to be kept for any time.
func poolSize(c *config.Service) int {
	if c.Timeout.UpstreamIdle == 0 {
		return 0
	}
	return c.HTTP.Pool
}

func forwardedFor(word string) http.ForwardedFor {
	switch word {
	case config.ForwardedSet:
		return http.ForwardedSet
	case config.ForwardedOff:
		return http.ForwardedOff
	}
	return http.ForwardedAppend
}

func retry(c *config.Retry) http.Retry {
	r := http.Retry{
		Attempts: c.Attempts, PerTry: c.PerTry, Stalled: c.Stalled,
		Backoff: c.Backoff, BackoffMax: c.BackoffMax, RetryAfterMax: c.RetryAfterMax,
	}
	for _, on := range c.On {
		switch on {
		case config.RetryConnect:
			r.Connect = true
		case config.RetryReset:
			r.Reset = true
		case config.RetryTimeout:
			r.Timeout = true
		case config.RetryRefusedStream:
			r.Refused = true
		case config.RetryCancelled:
			r.GRPC[metrics.GRPCCancelled] = true
		case config.RetryDeadlineExceeded:
			r.GRPC[metrics.GRPCDeadlineExceeded] = true
		case config.RetryInternal:
			r.GRPC[metrics.GRPCInternal] = true
		case config.RetryResourceExhausted:
			r.GRPC[metrics.GRPCResourceExhausted] = true
		case config.RetryUnavailable:
			r.GRPC[metrics.GRPCUnavailable] = true
		default:
			if status, err := strconv.Atoi(on); err == nil && status >= 500 && status <= 599 {
				r.Status[status-500] = true
			}
		}
	}
	return r
}

func hedge(c *config.Hedge) http.Hedge {
	if !c.Enabled {
		return http.Hedge{}
	}
	return http.Hedge{Percentile: c.Percentile, MinDelay: c.MinDelay, Budget: c.Budget}
}

// hashKey says what a request is known by, for the one policy that wants to know.
func hashKey(c *config.Balancer) http.HashKey {
	if c.Policy != config.PolicyRingHash {
		return http.HashKey{}
	}
	k := http.HashKey{By: http.HashClient, Hash: balancer.Hash}
	if name, ok := strings.CutPrefix(c.HashKey, config.HashHeader); ok {
		k.By, k.Name = http.HashHeader, name
	} else if name, ok := strings.CutPrefix(c.HashKey, config.HashCookie); ok {
		k.By, k.Name = http.HashCookie, name
	} else if c.HashKey == config.HashPath {
		k.By = http.HashPath
	}
	return k
}

// tcpHash is nil unless the policy wants to know the client.
func tcpHash(c *config.Service) func([]byte) uint64 {
	if c.Balancer.Policy != config.PolicyRingHash {
		return nil
	}
	return balancer.Hash
}

// tcpTries is how many endpoints a session tries: connecting elsewhere is a retry like any
// other.
func tcpTries(c *config.Retry) int {
	if !slices.Contains(c.On, config.RetryConnect) {
		return 1
	}
	return c.Attempts + 1
}
