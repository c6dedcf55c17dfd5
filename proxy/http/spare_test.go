package http

import (
	"testing"
	"time"
)

func TestTheConnectionThatIsIdleForLongestIsSpared(t *testing.T) {
	o := newOrigin(t)
	r := newRig(t, setup{origins: []string{o.addr}})
	servers := park(r, o, 3)
	r.pooled(3)
	spare := func(idle time.Duration) (ok bool) {
		r.on(func() { ok = r.proxy.Spare(r.shard.loop, idle) })
		return ok
	}
	if spare(time.Hour) {
		t.Error("spared, though nothing was idle for an hour")
	}
	r.pooled(3)
	if !spare(0) {
		t.Error("nothing was spared")
	}
	servers[0].end()
	r.pooled(2)
	for i := range 3 {
		if got := spare(0); got != (i < 2) {
			t.Errorf("%v, with %d of two gone", got, i)
		}
	}
	r.pooled(0)
}
