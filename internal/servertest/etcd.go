package servertest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// An Option is a further flag of etcd in one word, such as "--quota-backend-bytes=16777216".
type Option string

// Etcd returns an etcd of one member that has a leader. Its data survives Stop and Start, but
// not the machine: nothing is synced to the disk. With "--cert-file=…" among the options it
// speaks TLS.
func Etcd(t testing.TB, o ...Option) *Server {
	t.Helper()
	var args []string
	for _, option := range o {
		args = append(args, string(option))
	}
	return start(t, kind{
		name: "etcd", binary: "etcd", install: "apt-get install etcd-server", ports: 3,
		command: etcdCommand, ready: etcdReady,
	}, args)
}

func etcdCommand(s *Server) []string {
	clients, peers := "http://"+s.address(0), "http://"+s.address(1)
	if slices.ContainsFunc(s.args, func(a string) bool { return strings.HasPrefix(a, "--cert-file") }) {
		clients = "https://" + s.address(0)
	}
	return []string{
		"--name=one", "--data-dir=" + s.data(),
		"--listen-client-urls=" + clients, "--advertise-client-urls=" + clients,
		"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers,
		"--initial-cluster=one=" + peers,
		// The health check has a port of its own, where it needs no certificate.
		"--listen-metrics-urls=http://" + s.address(2),
		"--logger=zap", "--log-outputs=stderr",
		// The only member need not wait long for others before it votes for itself.
		"--heartbeat-interval=20", "--election-timeout=200",
		"--unsafe-no-fsync",
	}
}

// etcdReady tells whether there is a leader that answers reads.
func etcdReady(s *Server) bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address(2)+"/health", nil)
	if err != nil {
		return false
	}
	// It keeps no connections, so that tests which look for leaks find none of its.
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var answer struct {
		Health string `json:"health"`
	}
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return err == nil && resp.StatusCode == http.StatusOK && answer.Health == "true"
}
