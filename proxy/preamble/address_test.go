package preamble

import (
	"net/netip"
	"strings"
	"testing"
)

var addresses = []string{
	"0.0.0.0", "192.0.2.1", "255.255.255.255", "256.0.0.1", "01.2.3.4", "1.2.3", "1.2.3.4.5", "1..2.3", "1.2.3.", ".1.2.3", "1.2.3.x", "",
	"::", "::1", "1::", "1::2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::", "1::2:3:4:5:6:7:8", "1:2:3:4:5:6:7",
	"1:2:3:4:5:6:7:8:9", ":", ":::", ":1", "1:", "1::2::3", "1:::2", "12345::", "0001::", "00001::", "g::", "ABCD:ef::", "::ffff:192.0.2.1",
	"1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:7:192.0.2.1", "::192.0.2", "::192.0.2.1:1", "::a.0.2.1", "192.0.2.1::", "::1%lo", "1::2:", "::1 ",
}

// agree compares with netip.ParseAddr, which reads the same grammar.
func agree(t *testing.T, s string) {
	t.Helper()
	want, err := netip.ParseAddr(s)
	for _, v4 := range []bool{true, false} {
		right := err == nil && want.Is4() == v4 && want.Zone() == ""
		got, ok := parseAddr([]byte(s), v4)
		if ok != right || ok && got != want {
			t.Errorf("%q as IPv4 %t: %v, %t; want %v, %t", s, v4, got, ok, want, right)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, s := range addresses {
		agree(t, s)
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range addresses {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !strings.Contains(s, "%") {
			agree(t, s)
		}
	})
}
