package consul

import (
	"fmt"
	"net"
	"strconv"

	"github.com/hashicorp/consul/api"

	"sidecar/discovery"
)

// convert turns the entries of an answer into what may take traffic.
func convert(entries []*api.ServiceEntry, warning bool) answer {
	var a answer
	a.instances = make([]discovery.Instance, 0, len(entries))
	for _, e := range entries {
		if e == nil || e.Service == nil || e.Node == nil {
			a.unusable = append(a.unusable, "an entry without node or service")
			continue
		}
		weight := e.Service.Weights.Passing
		switch e.Checks.AggregatedStatus() {
		case api.HealthPassing:
		case api.HealthWarning:
			if !warning {
				continue
			}
			weight = e.Service.Weights.Warning
		default: // critical, maintenance, and states that no version has yet
			continue
		}
		// A service's ID is unique on its node only.
		id := e.Node.Node + "/" + e.Service.ID
		address, err := addressOf(e)
		if err != nil {
			a.unusable = append(a.unusable, fmt.Sprintf("%s: %v", id, err))
			continue
		}
		a.instances = append(a.instances, discovery.Instance{
			ID: id, Address: address, Weight: weight, Zone: zoneOf(e), Meta: e.Service.Meta,
		})
	}
	a.instances = discovery.Canonical(a.instances)
	return a
}

// addressOf is where the instance is dialled: its socket, or its own address before its node's.
func addressOf(e *api.ServiceEntry) (string, error) {
	if e.Service.SocketPath != "" {
		return "unix:" + e.Service.SocketPath, nil
	}
	host := e.Service.Address
	if host == "" {
		host = e.Node.Address
	}
	port := e.Service.DefaultPort()
	if host == "" {
		return "", fmt.Errorf("neither service nor node has an address")
	}
	if port < 1 || port > 65535 {
		return "", fmt.Errorf("port %d cannot be dialled; register the service with its port", port)
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// zoneOf prefers what is said of the service to what is said of its node, and either to the
// locality that newer agents register on their own.
func zoneOf(e *api.ServiceEntry) string {
	if zone := e.Service.Meta["zone"]; zone != "" {
		return zone
	}
	if zone := e.Node.Meta["zone"]; zone != "" {
		return zone
	}
	if e.Service.Locality != nil && e.Service.Locality.Zone != "" {
		return e.Service.Locality.Zone
	}
	if e.Node.Locality != nil {
		return e.Node.Locality.Zone
	}
	return ""
}
