package main

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// sidecarLauncher returns the way to start one sidecar binary. All that is on by default stays
// on: metrics, breaker, P2C, retries, deadlines.
func sidecarLauncher(binary string) func(*bench, setting) (*running, error) {
	return sidecarWith(binary, "", 0)
}

// sidecarWith is the same with more in the configuration, and whose metrics are scraped; 0: they are not.
func sidecarWith(binary, more string, scraped time.Duration) func(*bench, setting) (*running, error) {
	return func(b *bench, s setting) (*running, error) {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		admin, err := freeAddr()
		if err != nil {
			return nil, err
		}
		_, path, err := b.writeConfig("sidecar", "config.toml", sidecarConfig(addr, admin, s)+more)
		if err != nil {
			return nil, err
		}
		p, err := b.start("sidecar", s.core, binary, "run", "--config", path)
		if err != nil {
			return nil, err
		}
		r := &running{addr: addr, proc: p, pids: []int{p.pid()}}
		if err := b.until(p, func() error { return isReady(admin) }); err != nil {
			return nil, err
		}
		if scraped > 0 {
			go scrape(b.ctx, admin, scraped)
		}
		return r, dialable(addr)
	}
}

func sidecarConfig(addr, admin string, s setting) string {
	protocol := "tcp"
	if s.http {
		protocol = "http"
	}
	secure := ""
	if s.cert != nil {
		secure = fmt.Sprintf("\n  [service.tls]\n  cert_files = [%q]\n  key_files  = [%q]\n", s.cert.certFile, s.cert.keyFile)
	}
	return fmt.Sprintf(`[admin]
listen = %q

[log]
level = "warn"

[runtime]
loops = %d
drain = "1s"

[[service]]
name     = "origin"
listen   = %q
protocol = %q

  [service.discovery]
  source    = "static"
  instances = [%q]
%s`, admin, s.loops, addr, protocol, s.origin, secure)
}

func isReady(admin string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	res, err := client.Get("http://" + admin + "/readyz")
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz: %s", res.Status)
	}
	return nil
}

func dialable(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}
