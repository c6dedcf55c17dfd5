package discovery

import (
	"fmt"
	"net"
	"strconv"
)

// HostPort joins what a registry says of an instance into an address that can be dialled. The
// error says what is wrong with it.
func HostPort(host string, port int) (string, error) {
	switch {
	case host == "":
		return "", fmt.Errorf("it has no address")
	case port < 1 || port > 65535:
		return "", fmt.Errorf("port %d cannot be dialled; register it with its port", port)
	}
	address := net.JoinHostPort(host, strconv.Itoa(port))
	return address, checkAddress(address)
}
