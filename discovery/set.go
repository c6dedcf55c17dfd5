package discovery

import (
	"cmp"
	"maps"
	"slices"
)

// Canonical brings a set into the form that an Update promises: sorted by ID, the first of
// those that share an ID kept and the others dropped, every weight 1 or more. It works in
// place and returns the slice, shortened where something was dropped.
func Canonical(instances []Instance) []Instance {
	for i := range instances {
		instances[i].Weight = max(instances[i].Weight, 1)
	}
	// Stable, so that which one is kept depends on the order given and on nothing else.
	slices.SortStableFunc(instances, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(instances, func(a, b Instance) bool { return a.ID == b.ID })
}

// Equal tells whether two canonical sets say the same.
func Equal(a, b []Instance) bool {
	return slices.EqualFunc(a, b, func(x, y Instance) bool {
		return x.ID == y.ID && x.Address == y.Address && x.Weight == y.Weight &&
			x.Zone == y.Zone && maps.Equal(x.Meta, y.Meta)
	})
}
