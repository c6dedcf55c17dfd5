package daemon

import (
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http"
)

// tellEvery is how often it is logged at the most that accepting pauses.
const tellEvery = time.Minute

// A reserve sees to what happens when descriptors run out: what nobody uses is given up, and the log
// says so once in a while.
type reserve struct {
	told atomic.Int64 // when the log was last told, in nanoseconds since the start; 0: never
}

// spare closes a connection to an endpoint that nobody has used for so long, on a loop of the group.
func (d *Daemon) spare(l *eventloop.Loop, idle time.Duration) bool {
	st := d.state.Load()
	if st == nil {
		return false
	}
	for _, s := range st.services {
		if p, ok := s.proxy.(*http.Proxy); ok && p.Spare(l, idle) {
			return true
		}
	}
	return false
}

// pauses takes note, on a loop, that accepting for these services pauses.
func (d *Daemon) pauses(services []string, err error) {
	now, last := int64(time.Since(d.started)), d.reserve.told.Load()
	if last != 0 && now-last < int64(tellEvery) || !d.reserve.told.CompareAndSwap(last, now) {
		return
	}
	go d.tellPause(services, err) // which looks into /proc, and that takes time
}

func (d *Daemon) tellPause(services []string, err error) {
	fields := []zap.Field{zap.Strings("services", services), zap.Error(err), zap.Int64("limit", d.group.Descriptors())}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		fields = append(fields, zap.Int("open", len(open)))
	}
	d.log.Warn("accepting pauses until other connections end, new clients wait meanwhile; raise LimitNOFILE of the unit (ulimit -n), "+
		"or find who holds so many connections (ss -tnp); said once a minute at the most, sidecar_listener_accept_paused shows it all along", fields...)
}

// pausing is what is wrong with a listener, for the status, or nothing.
func pausing(ln *eventloop.Listener) string {
	if ln.Paused() == 0 {
		return ""
	}
	return "it does not accept just now, because descriptors or memory have run out; clients wait"
}

// observeReserve lets metrics ask for what is lacking.
func (d *Daemon) observeReserve() {
	if lost := d.options.LostLines; lost != nil {
		d.metrics.ObserveLog(lost)
	}
	d.metrics.ObservePauses(func(emit func(metrics.PauseSample)) {
		for _, k := range d.state.Load().sockets {
			paused := 0
			for _, ln := range k.port.open() {
				paused += ln.Paused()
			}
			for _, s := range k.services {
				emit(metrics.PauseSample{Service: s.config.Name, Protocol: s.config.Protocol, Loops: paused})
			}
		}
	})
}
