package config

import "reflect"

// A serviceRuling applies the rules that look at several keys of one service.
type serviceRuling struct {
	ruling
	root *Config
	svc  *Service
	by   string // which of discovery.source and discovery.sources holds
}

// serviceRules checks one service, and sets what depends on several keys.
func (l *loader) serviceRules(cfg *Config, svc *Service, s *scope, ls layers) {
	r := &serviceRuling{ruling{l, reflect.ValueOf(svc).Elem(), s, ls, layers{s.file, s.env}}, cfg, svc, sourceKey}
	if !ls.set("name") && !l.incomplete {
		l.report(s, s.start(), "name", wrong("is missing; every service needs a name"))
	}
	if !ls.set("listen") && !l.incomplete {
		l.report(s, s.start(), "listen", wrong(`is missing; write for example listen = "127.0.0.1:7001"`))
	}
	r.discovery()
	r.balancer()
	r.onlyWith("protocol", []string{ProtocolHTTP}, "hedge.enabled", "hedge.percentile", "hedge.min_delay", "hedge.budget", "timeout.header",
		"retry.per_try", "retry.stalled", "retry.backoff", "retry.backoff_max", "retry.retry_after_max")
	r.inOrder("breaker.open", "breaker.open_max")
	r.inOrder("retry.backoff", "retry.backoff_max")
	r.inOrder("limit.adaptive_min", "limit.adaptive_max")
	r.probe("health_check.")
	r.onlyWith("health_check.type", []string{CheckTCP, CheckHTTP, CheckGRPC}, "health_check.keep_dropped")
	r.fallback()
	r.transport()
}

func (r *serviceRuling) balancer() {
	const key, policy = "balancer.hash_key", "balancer.policy"
	b := &r.svc.Balancer
	r.onlyWith(policy, []string{PolicyRingHash}, key, "balancer.hash_balance")
	r.onlyWith(policy, []string{PolicyP2C, PolicyLeastConn, PolicyRoundRobin, PolicyRandom}, "balancer.slow_start")
	if r.svc.Protocol == ProtocolTCP && b.Policy == PolicyRingHash && b.HashKey != HashClient && !r.bad(key, policy, "protocol") {
		r.reportAt(key, wrong(`%q is for protocol = "http" only; with "tcp" it is %q`, b.HashKey, HashClient))
	}
}

func (r *serviceRuling) fallback() {
	const status, body = "fallback.status", "fallback.body"
	response := []string{body, "fallback.content_type"}
	r.onlyWith("protocol", []string{ProtocolHTTP}, append(response, status)...)
	f := &r.svc.Fallback
	switch {
	case r.bad(status, body, "protocol") || r.svc.Protocol != ProtocolHTTP:
	case f.Status == 0:
		for _, path := range response {
			r.idle(path, wrong("belongs to a fixed response, and without status there is none; set status, for example to 503, or remove this"))
		}
	case f.Body != "" && (f.Status == 204 || f.Status == 205 || f.Status == 304):
		r.reportAt(body, wrong("is for a response that has a body, and status is %d (%s), which has none",
			f.Status, r.layers.origin(status).String()))
	}
}
