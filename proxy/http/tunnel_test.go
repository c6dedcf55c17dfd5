package http

import (
	"strings"
	"testing"
	"time"

	"sidecar/metrics"
)

var (
	upgrade  = lines("GET /chat HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket")
	switched = lines("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")
)

// tunnel opens one.
func tunnel(t *testing.T, options func(*Options)) (*rig, *peer, *peer) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}, options: options})
	c := r.dial()
	c.say(upgrade)
	s := o.accept()
	s.hear(lines("GET /chat HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket"))
	s.say(switched)
	c.hear(switched)
	return r, c, s
}

func TestTunnelCarriesBothWays(t *testing.T) {
	r, c, s := tunnel(t, nil)
	c.say("ping")
	s.hear("ping")
	s.say("pong")
	c.hear("pong")
	big := strings.Repeat("0123456789abcdef", 1<<14)
	c.say(big)
	s.hear(big)
	s.say(big)
	c.hear(big)
	c.closeWrite()
	s.end()
	s.say("the last word")
	s.close()
	c.hear("the last word")
	c.end()
	if n := r.metric("sidecar_http_tunnels_total"); n != 1 {
		t.Errorf("%v tunnels", n)
	}
}

func TestTunnelPassesWhatCameEarly(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(upgrade + "early client")
	s := o.accept()
	s.hear(upgrade)
	s.say(switched + "early endpoint")
	c.hear(switched)
	c.hear("early endpoint")
	s.hear("early client")
	c.close()
	s.end()
	s.close()
}

func TestRefusedUpgradeLeavesTheConnection(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(upgrade)
	s := o.accept()
	s.hear(upgrade)
	s.say(lines("HTTP/1.1 403 No", "Content-Length: 0"))
	c.hear(lines("HTTP/1.1 403 No", "Content-Length: 0"))
	c.say(get)
	s.hear(get)
	s.say(ok)
	c.hear(ok)
}

func TestSwitchToWhatWasNotOffered(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	c := r.dial()
	c.say(upgrade)
	s := o.accept()
	s.hear(upgrade)
	s.say(strings.Replace(switched, "websocket", "other", 1))
	c.wantOwn(502, "bad-response")
}

func TestTunnelIsCutWhenNothingMoves(t *testing.T) {
	r, c, s := tunnel(t, func(o *Options) { o.StreamIdle = 50 * time.Millisecond })
	c.broken()
	s.broken()
	r.wantError(metrics.CauseIdleTimeout)
}

func TestTunnelPassesAResetOn(t *testing.T) {
	_, c, s := tunnel(t, nil)
	c.reset()
	s.broken()
	_, c, s = tunnel(t, nil)
	s.reset()
	c.broken()
}

func TestTunnelOfARetiredEndpoint(t *testing.T) {
	r, c, s := tunnel(t, func(o *Options) { o.CloseOnDown = true })
	r.report()
	c.broken()
	s.broken()
	r.wantError(metrics.CauseEndpointDown)
}
