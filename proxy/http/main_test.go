package http

import (
	"net"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// The net package's poller opens descriptors of its own when it is first used.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	os.Exit(m.Run())
}
