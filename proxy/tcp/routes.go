package tcp

import (
	"bytes"
	"strings"

	"sidecar/proxy/preamble"
)

// A Route says which of the services that share a socket a connection is for.
type Route struct {
	// Names are those that TLS clients ask for (SNI), in small letters: hosts, and "*.example.org"
	// for all hosts below example.org, however deep. None: whatever is for no other Route, TLS
	// or not. No name is in two Routes, and one Route at most has none.
	Names []string
	Proxy *Proxy
}

// routes is a table of Routes that never changes.
type routes struct {
	from   preamble.Senders
	hosts  map[string]*Proxy
	below  map[string]*Proxy // by what follows the "*."
	others *Proxy            // nil: whatever is for nobody is refused
}

func newRoutes(from preamble.Senders, all []Route) *routes {
	t := &routes{from: from, hosts: make(map[string]*Proxy), below: make(map[string]*Proxy)}
	for _, r := range all {
		if len(r.Names) == 0 {
			t.others = r.Proxy
		}
		for _, name := range r.Names {
			if suffix, ok := strings.CutPrefix(name, "*."); ok {
				t.below[suffix] = r.Proxy
			} else {
				t.hosts[name] = r.Proxy
			}
		}
	}
	return t
}

// find returns the Proxy that a name leads to, the most specific one: the host itself, then the
// longest of the names with a star. It is nil where the name is nobody's, or empty.
func (t *routes) find(name []byte) *Proxy {
	if p := t.hosts[string(name)]; p != nil {
		return p
	}
	if len(t.below) == 0 {
		return nil
	}
	for {
		_, rest, ok := bytes.Cut(name, dot)
		if !ok {
			return nil
		}
		if p := t.below[string(rest)]; p != nil {
			return p
		}
		name = rest
	}
}

var dot = []byte{'.'}
