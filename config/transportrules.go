package config

import (
	"slices"
	"strings"
	"time"
)

// The keys that decide whether there is TLS.
const (
	certFilesKey   = "tls.cert_files"
	upstreamTLSKey = "upstream_tls.enabled"
)

// transport checks what lies between a socket and the protocol, on either side.
func (r *serviceRuling) transport() {
	r.onlyWith("protocol", []string{ProtocolHTTP}, "upstream_protocol", "http2.max_streams", "http2.header_list",
		"http2.window", "http2.connection_window", "http2.ping")
	// Requests of several clients share a connection to an endpoint; X-Forwarded-For tells them apart.
	r.onlyWith("protocol", []string{ProtocolTCP}, "send_proxy", "sni")
	r.inOrder("http2.window", "http2.connection_window")
	r.noneOrMore("http2.ping", time.Second)
	r.termination()
	r.origination()
	r.serverNames()
	unix := func(a Address) bool { return a.Network == "unix" }
	if len(r.svc.Listen) > 0 && !slices.ContainsFunc(r.svc.Listen, func(a Address) bool { return !unix(a) }) {
		r.idle("accept_proxy_from", wrong("are addresses of clients, and clients of unix sockets have none; listen on ip:port, or remove them"))
	}
}

// termination checks TLS with clients.
func (r *serviceRuling) termination() {
	const keys, ca, auth, names = "tls.key_files", "tls.client_ca_file", "tls.client_auth", "tls.client_names"
	t := &r.svc.TLS
	if r.bad(certFilesKey) {
		return
	}
	if len(t.CertFiles) == 0 {
		for _, path := range []string{keys, ca, auth, names, "tls.min_version"} {
			is, this := r.number(path)
			r.idle(path, wrong("%s for TLS with clients, which needs cert_files; set these or remove %s", is, this))
		}
		return
	}
	switch {
	case len(t.KeyFiles) == len(t.CertFiles) || r.bad(keys):
	case len(t.KeyFiles) == 0:
		r.reportAt(certFilesKey, wrong("are set without key_files; each certificate needs its key, in the same order"))
	default:
		r.reportAt(keys, wrong("are %d, and cert_files are %d (%s); each certificate needs its key, in the same order",
			len(t.KeyFiles), len(t.CertFiles), r.layers.origin(certFilesKey).String()))
	}
	r.onlyWith(auth, []string{ClientAuthOptional, ClientAuthRequired}, ca, names)
	if t.ClientAuth != ClientAuthOff && t.ClientCAFile == "" && !r.bad(auth, ca) {
		r.reportAt(auth, wrong("is %q, which needs client_ca_file", t.ClientAuth))
	}
}

// origination checks TLS with endpoints.
func (r *serviceRuling) origination() {
	const ca, cert, key, skip = "upstream_tls.ca_file", "upstream_tls.cert_file", "upstream_tls.key_file", "upstream_tls.dangerously_skip_verification"
	u := &r.svc.UpstreamTLS
	switch {
	case r.bad(upstreamTLSKey):
		return
	case !u.Enabled:
		for _, path := range []string{ca, cert, key, "upstream_tls.server_name", skip, "upstream_tls.min_version"} {
			r.idle(path, wrong("is for TLS with endpoints, which is off; set enabled = true, or remove this"))
		}
		return
	case u.DangerouslySkipVerification && !r.bad(skip):
		r.idle(ca, wrong("has nothing to do, since dangerously_skip_verification is true (%s); remove one of them", r.layers.origin(skip).String()))
	}
	r.together(cert, key)
	if u.ServerName == "" && !u.DangerouslySkipVerification && !r.bad("upstream_tls.server_name", skip) {
		r.named("discovery.instances", r.svc.Discovery.Instances)
		r.named("fallback.instances", r.svc.Fallback.Instances)
	}
}

// named checks that the address of each instance has a host, which is the name that its certificate
// must have then.
func (r *serviceRuling) named(path string, instances []string) {
	for _, instance := range instances {
		if address, _, _ := strings.Cut(instance, " "); strings.HasPrefix(address, "unix:") {
			r.reportAt(path, wrong("%q has no host that its certificate could be for; set upstream_tls.server_name", address))
			return
		}
	}
}

// serverNames checks the names by which connections are told apart, which are not case-sensitive.
func (r *serviceRuling) serverNames() {
	const names = "sni"
	if len(r.svc.TLS.CertFiles) > 0 {
		r.idle(names, wrong("are for TLS that passes through, and tls.cert_files (%s) end it here; remove one of them",
			r.layers.origin(certFilesKey).String()))
	}
	for i, name := range r.svc.SNI {
		r.svc.SNI[i] = strings.ToLower(name)
	}
}
