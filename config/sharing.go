package config

import "slices"

// sharing tells whether s can have its address together with o because the name that a TLS client
// asks for says whose a connection is: both are of protocol tcp and leave TLS alone, and one at
// most is without names, which gets what is for none of them. The mistake is what is wrong where
// they would share otherwise.
func (s *socket) sharing(o *socket) (bool, *mistake) {
	if s.service == nil || o.service == nil || s.scope == o.scope || s.address != o.address {
		return false, nil
	}
	if s.unclear || o.unclear {
		return true, nil
	}
	a, b := s.service, o.service
	for _, svc := range []*Service{a, b} {
		if svc.Protocol != ProtocolTCP || len(svc.TLS.CertFiles) > 0 {
			return false, nil
		}
	}
	if len(a.SNI) == 0 && len(b.SNI) == 0 {
		return false, nil
	}
	where := o.origin.String()
	for _, name := range a.SNI {
		if slices.Contains(b.SNI, name) {
			return false, wrong("%s is shared with %s (%s), which has %q as well; names differ", s.address.String(), o.owner, where, name)
		}
	}
	if !sameItems(a.AcceptProxyFrom, b.AcceptProxyFrom) {
		return false, wrong("%s is shared with %s (%s), whose accept_proxy_from differs; the header comes before the name, so both need the same",
			s.address.String(), o.owner, where)
	}
	return true, nil
}

// sameItems tells whether two lists have the same items, in any order.
func sameItems(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
