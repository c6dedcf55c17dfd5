package preamble

import (
	"net/netip"
	"testing"
)

func TestSendersAreKnownByTheirNetworks(t *testing.T) {
	s := Senders{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
	for text, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fe80::1": true, "fe80::1%eth0": true, "fe80::1%2": true,
		"11.1.2.3": false, "::ffff:11.1.2.3": false, "2001:db8::1": false,
	} {
		if got := s.contain(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if s.contain(netip.Addr{}) {
		t.Error("a unix socket has no network")
	}
}
