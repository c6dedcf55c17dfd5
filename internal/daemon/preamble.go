package daemon

import (
	"net/netip"

	"sidecar/config"
	"sidecar/proxy/preamble"
)

// senders are the networks that PROXY headers are taken from. The configuration has checked them.
func senders(networks []string) preamble.Senders {
	var all preamble.Senders
	for _, n := range networks {
		if p, err := netip.ParsePrefix(n); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
}

// sendProxy is the version of the PROXY header that endpoints get, 0 for none.
func sendProxy(word string) int {
	switch word {
	case config.SendProxyV1:
		return 1
	case config.SendProxyV2:
		return 2
	}
	return 0
}
