package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxWeight is the largest weight Consul accepts too: weights of all sources are of one scale.
const maxWeight = 65535

// Static returns a Source of a set that never changes: it is reported once. The caller may
// do with instances what it likes afterwards.
func Static(instances []Instance) Source {
	return static(Canonical(append([]Instance(nil), instances...)))
}

type static []Instance

func (s static) Watch(ctx context.Context, report func(Update)) {
	if ctx.Err() != nil {
		return
	}
	report(Update{Instances: s, At: time.Now()})
	<-ctx.Done()
}

// ParseInstance reads an instance as it stands in the configuration: an address as
// Instance.Address describes it, then any of weight=N and zone=NAME, divided by spaces:
//
//	10.0.0.1:8080
//	[fd00::1]:8080 weight=2
//	db1.internal:5432 zone=b weight=3
//	unix:/run/app.sock
//
// Its ID is the address.
func ParseInstance(s string) (Instance, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return Instance{}, fmt.Errorf(`instance %q: no address; write one such as "10.0.0.1:8080 weight=2 zone=b"`, s)
	}
	inst := Instance{ID: fields[0], Address: fields[0]}
	if err := checkAddress(inst.Address); err != nil {
		return Instance{}, fmt.Errorf("instance %q: %w", s, err)
	}
	for _, field := range fields[1:] {
		if err := inst.set(field); err != nil {
			return Instance{}, fmt.Errorf("instance %q: %w", s, err)
		}
	}
	inst.Weight = max(inst.Weight, 1)
	return inst, nil
}

// set applies one "key=value" of the text form. A field that is set already is an error.
func (i *Instance) set(field string) error {
	key, value, _ := strings.Cut(field, "=")
	switch {
	case key == "weight" && i.Weight != 0, key == "zone" && i.Zone != "":
		return fmt.Errorf("%s is given twice", key)
	case key == "weight":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxWeight {
			return fmt.Errorf("weight %q is not a number from 1 to %d", value, maxWeight)
		}
		i.Weight = n
	case key == "zone":
		if value == "" {
			return errors.New("zone is empty; leave it out or name one")
		}
		i.Zone = value
	default:
		return fmt.Errorf("unknown setting %q; known are weight=N and zone=NAME", field)
	}
	return nil
}

// checkAddress tells what is wrong with an address that cannot be dialled as it stands.
func checkAddress(addr string) error {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if !strings.HasPrefix(path, "/") || path == "/" {
			return errors.New("a socket's path must be absolute; write unix:/run/app.sock")
		}
		return nil
	}
	if strings.Contains(addr, "://") {
		return fmt.Errorf("%q has a scheme; write only host:port, or unix:/path", addr)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		if _, iperr := netip.ParseAddr(addr); iperr == nil && strings.Contains(addr, ":") {
			return fmt.Errorf("no port; write [%s]:PORT", addr)
		}
		if !strings.Contains(addr, ":") {
			return fmt.Errorf("no port; write %s:PORT", addr)
		}
		return fmt.Errorf("%q is not host:port; an IPv6 address stands in brackets: [fd00::1]:8080", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	if host == "" {
		return fmt.Errorf("no host; write 127.0.0.1%s for this machine", addr)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if strings.ContainsFunc(host, notInHostName) {
		return fmt.Errorf("%q is neither an IP address nor a host name", host)
	}
	if strings.Trim(host, "0123456789.") == "" {
		return fmt.Errorf("%q is not an IP address", host) // such as 10.0.0.256, which no resolver knows
	}
	return nil
}

// notInHostName allows '_' besides what RFC 1123 allows, as resolvers do.
func notInHostName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		return false
	}
	return true
}
