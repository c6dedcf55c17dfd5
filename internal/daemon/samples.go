package daemon

import (
	"slices"

	"sidecar/config"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
)

func loopSample(index int, st *eventloop.Stats) metrics.LoopSample {
	out := metrics.LoopSample{Loop: index, Turns: st.Turns, Events: st.Events, Posts: st.Posts, Panics: st.Panics,
		Conns: st.Sockets, Tasks: st.Tasks, Busy: st.Busy, Delays: st.Delays.Counts[:], DelaySum: st.Delays.Sum}
	for i := range len(st.Delays.Counts) - 1 {
		out.DelayBounds = append(out.DelayBounds, eventloop.DelayBound(i))
	}
	return out
}

// configured tells whether a service's instances stand in the configuration alone: nobody confirms them,
// and an age would look like a failure.
func configured(c *config.Service) bool {
	return !slices.ContainsFunc(c.Discovery.Sources, func(source string) bool { return source != config.SourceStatic })
}
