package secure

import (
	"crypto/tls"

	"sidecar/internal/eventloop"
)

// ofEndpoint returns cfg with a session cache that keeps the sessions of one endpoint apart from
// those of the others: crypto/tls keeps them by the server name, which all instances of a service
// have in common, and each can resume only what it has begun.
func ofEndpoint(cfg *tls.Config, c *eventloop.Conn) *tls.Config {
	if cfg.ClientSessionCache == nil || cfg.ServerName == "" {
		return cfg
	}
	cfg = cfg.Clone()
	cfg.ClientSessionCache = &endpointSessions{cfg.ClientSessionCache, c.RemoteAddr().String() + " "}
	return cfg
}

type endpointSessions struct {
	all    tls.ClientSessionCache
	prefix string
}

func (s *endpointSessions) Get(key string) (*tls.ClientSessionState, bool) {
	return s.all.Get(s.prefix + key)
}

func (s *endpointSessions) Put(key string, state *tls.ClientSessionState) {
	s.all.Put(s.prefix+key, state)
}
