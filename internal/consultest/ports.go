package consultest

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// ports are those of one agent.
type ports struct{ http, server, serf int }

// freePorts finds ports for n agents that nobody listens on. They lie below those that the
// kernel gives to outgoing connections, so that none takes them while an agent is stopped.
func freePorts(n int) ([]ports, error) {
	const each = 3
	base := 0
	for range 100 {
		base = 20000 + rand.N(12000)
		ok := true
		for port := base; ok && port < base+each*n; port++ {
			ok = free(port)
		}
		if !ok {
			continue
		}
		var all []ports
		for i := range n {
			at := base + each*i
			all = append(all, ports{http: at, server: at + 1, serf: at + 2})
		}
		return all, nil
	}
	return nil, fmt.Errorf("no free ports on 127.0.0.1; the last tried was %d", base)
}

func free(port int) bool {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", address) // serf gossips over both
	if err != nil {
		return false
	}
	u.Close()
	return true
}
