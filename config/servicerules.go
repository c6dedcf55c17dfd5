package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A ruling applies the rules that look at several keys of one service.
type ruling struct {
	*loader
	svc    *Service
	scope  *scope
	layers layers // what was set for the service, [defaults] included
	own    layers // what was set for the service itself
}

// serviceRules checks one service, and sets what depends on several keys.
func (l *loader) serviceRules(svc *Service, s *scope, ls layers) {
	r := &ruling{l, svc, s, ls, layers{s.file, s.env}}
	if !ls.set("name") && !l.incomplete {
		l.report(s, s.start(), "name", wrong("is missing; every service needs a name"))
	}
	if !ls.set("listen") && !l.incomplete {
		l.report(s, s.start(), "listen", wrong(`is missing; write for example listen = "127.0.0.1:7001"`))
	}
	r.inOrder("health_check.timeout", "health_check.interval")
	r.inOrder("breaker.open", "breaker.open_max")
	r.inOrder("retry.backoff", "retry.backoff_max")
	r.inOrder("limit.adaptive_min", "limit.adaptive_max")

	r.discovery()
	r.balancer()
	r.onlyWith("protocol", []string{ProtocolHTTP}, "hedge.enabled", "hedge.percentile", "hedge.min_delay", "hedge.budget", "timeout.header")
	r.healthCheck()
	r.fallback()
}

func (r *ruling) discovery() {
	const instances, source = "discovery.instances", "discovery.source"
	d := &r.svc.Discovery
	if d.Service == "" {
		d.Service = r.svc.Name
	}
	r.onlyWith(source, []string{SourceStatic}, instances)
	if d.Source != SourceStatic || len(d.Instances) > 0 || r.incomplete || r.layers.bad(instances) || r.layers.bad(source) {
		return
	}
	o, path := r.layers.origin(source), source
	if r.own.set(instances) {
		o, path = r.layers.origin(instances), instances
	}
	if o.variable == "" && !r.own.set(path) {
		o = r.scope.start() // [defaults] is right, the service lacks something
	}
	r.report(r.scope, o, instances, wrong(`source is "static", which needs instances, such as ["10.0.0.1:8080"]`))
}

func (r *ruling) balancer() {
	const key, policy = "balancer.hash_key", "balancer.policy"
	b := &r.svc.Balancer
	r.onlyWith(policy, []string{PolicyRingHash}, key, "balancer.hash_balance")
	if r.svc.Protocol == ProtocolTCP && b.Policy == PolicyRingHash && b.HashKey != HashClient && !r.bad(key, policy, "protocol") {
		r.report(r.scope, r.layers.origin(key), key, wrong(`%q is for protocol = "http" only; with "tcp" it is %q`, b.HashKey, HashClient))
	}
}

func (r *ruling) healthCheck() {
	const kind, body, method, down = "health_check.type", "health_check.body", "health_check.method", "health_check.down_interval"
	h := &r.svc.HealthCheck
	r.onlyWith(kind, []string{CheckHTTP}, "health_check.path", method, "health_check.headers", "health_check.statuses", body)
	r.onlyWith(kind, []string{CheckHTTP, CheckGRPC}, "health_check.host")
	r.onlyWith(kind, []string{CheckGRPC}, "health_check.service")
	r.onlyWith(kind, []string{CheckTCP, CheckHTTP, CheckGRPC}, "health_check.keep_dropped")
	if h.Type == CheckHTTP && h.Body != "" && h.Method == "HEAD" && !r.bad(kind, body, method) {
		r.report(r.scope, r.layers.origin(body), body, wrong(`looks at a body, which HEAD never brings; change health_check.method (%s)`,
			r.layers.origin(method).String()))
	}
	const least = 10 * time.Millisecond
	if h.DownInterval > 0 && h.DownInterval < least && !r.bad(down) {
		r.report(r.scope, r.layers.origin(down), down, wrong("%q is too short; want 0s, or %s or more", duration(h.DownInterval), duration(least)))
	}
}

func (r *ruling) fallback() {
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
		r.report(r.scope, r.layers.origin(body), body, wrong("is for a response that has a body, and status is %d (%s), which has none",
			f.Status, r.layers.origin(status).String()))
	}
}

// bad tells whether what counts for any of the paths was wrong.
func (r *ruling) bad(paths ...string) bool { return slices.ContainsFunc(paths, r.layers.bad) }

// value finds a key of the service: its schema, and what it holds.
func (r *ruling) value(path string) (*field, reflect.Value) {
	f, v := r.schema.service, reflect.ValueOf(r.svc).Elem()
	for key := range strings.SplitSeq(path, ".") {
		f = f.child(key)
		v = v.Field(f.index)
	}
	return f, v
}

// onlyWith takes care of keys that have a meaning only where another key is one of certain words.
func (r *ruling) onlyWith(condition string, want []string, paths ...string) {
	c, v := r.value(condition)
	got := v.String()
	if slices.Contains(want, got) || r.bad(condition) {
		return
	}
	quoted := make([]string, len(want))
	for i, word := range want {
		quoted[i] = fmt.Sprintf("%q", word)
	}
	only := strings.ReplaceAll(enumerate(quoted), " and ", " or ")
	for _, path := range paths {
		is, this := "is", "this"
		if f, _ := r.value(path); f.list() {
			is, this = "are", "them"
		}
		r.idle(path, wrong("%s for %s = %s only, and %s is %q; change it or remove %s", is, c.key, only, c.key, got, this))
	}
}

// idle takes care of a key that has no meaning as the others are. It is a mistake where the
// service itself sets it. What [defaults] says is meant for other services, and this one gets
// the built-in default, which is no mistake anywhere.
func (r *ruling) idle(path string, m *mistake) {
	f, v := r.value(path)
	if r.bad(path) || !r.layers.set(path) {
		return
	}
	standard, mistakes := f.parseText(f.standard)
	if len(mistakes) > 0 || reflect.DeepEqual(v.Interface(), standard) || f.list() && v.Len() == 0 {
		return
	}
	if r.own.set(path) {
		r.report(r.scope, r.layers.origin(path), path, m)
		return
	}
	v.Set(reflect.ValueOf(standard))
}

// inOrder sees to it that less is not more than most, which are durations or integers. Where one
// of them is the built-in default it gives way to the other.
func (r *ruling) inOrder(less, most string) {
	_, low := r.value(less)
	_, high := r.value(most)
	if low.Int() <= high.Int() || r.bad(less, most) {
		return
	}
	_, rankLess, setLess := r.layers.find(less)
	_, rankMost, setMost := r.layers.find(most)
	switch {
	case !setLess:
		low.SetInt(high.Int())
	case !setMost:
		high.SetInt(low.Int())
	case rankMost > rankLess:
		r.report(r.scope, r.layers.origin(most), most, wrong("is %s, less than %s with %s (%s)",
			amount(high), less, amount(low), r.layers.origin(less).String()))
	default:
		r.report(r.scope, r.layers.origin(less), less, wrong("is %s, more than %s with %s (%s)",
			amount(low), most, amount(high), r.layers.origin(most).String()))
	}
}

// amount writes a duration or an integer for a message.
func amount(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return duration(d)
	}
	return fmt.Sprint(v.Interface())
}
