package kubernetes

import (
	"net"
	"slices"
	"testing"

	"sidecar/discovery"
)

// Whatever a stream says, what is made of it is a set as an Update promises it, and the same each
// time.
func FuzzChange(f *testing.F) {
	for _, seed := range []string{
		`{"type":"ADDED","object":` + encode(slice1("orders-a", "90", pod("a", "10.0.0.1"), pod("b", "10.0.0.1"))) + `}`,
		`{"type":"MODIFIED","object":{"addressType":"FQDN","ports":[{"port":null}],"endpoints":[{"addresses":["a.b"],"conditions":{}}]}}`,
		`{"type":"ADDED","object":{"addressType":"IPv6","ports":[{"port":8080}],"endpoints":[{"addresses":["fe80::1%eth0","x"]},{"addresses":[""]},{}]}}`,
		`{"type":"ADDED","object":{"addressType":"IPv4","ports":[{"port":-1},{"port":70000,"protocol":"UDP"}],"endpoints":[{"addresses":["10.0.0.1"],"targetRef":{"kind":"Pod"}}]}}`,
		`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}`,
		`{"type":"ERROR","object":{"code":410}}`,
		`{"type":"ADDED"}`,
		`null`,
	} {
		f.Add(seed, "")
		f.Add(seed, "8080")
	}
	f.Fuzz(func(t *testing.T, line, port string) {
		c, err := readChange([]byte(line))
		if err != nil {
			return
		}
		second := c.slice
		second.Metadata.Name += "-2"
		all := map[string]slice{c.slice.Metadata.Name: c.slice, second.Metadata.Name: second}
		u := convert(all, port)
		if again := convert(all, port); !discovery.Equal(u.Instances, again.Instances) || !slices.Equal(u.Problems, again.Problems) {
			t.Fatalf("%+v, and then %+v", u, again)
		}
		if !discovery.Equal(u.Instances, discovery.Canonical(slices.Clone(u.Instances))) || !slices.IsSorted(u.Problems[:min(len(u.Problems), mostProblems)]) {
			t.Fatalf("%+v", u)
		}
		for _, i := range u.Instances {
			if _, _, err := net.SplitHostPort(i.Address); err != nil || i.ID == "" {
				t.Fatalf("%+v", i)
			}
		}
	})
}
