// Package upstream owns the endpoints of a service, publishes them as snapshots, hands out
// leases on them, and keeps the service's retry budget and decision history.
//
// Two planes meet here. The control plane is one goroutine per service, Service.Run: it
// receives the source's updates, the verdicts of health checks and the trips of breakers,
// decides in one place which endpoints are usable, and publishes a new Snapshot behind one
// atomic pointer. The data plane calls Acquire from any number of threads: it loads the
// snapshot, lets the picker choose, passes the endpoint's breaker and limits, and counts
// the endpoint in flight. It takes no lock, allocates nothing and never blocks.
//
//	s := upstream.New(upstream.Options{Name: "orders", Source: source, Policy: balancer.P2C()})
//	go s.Run(ctx)
//	…
//	lease, err := s.Acquire(upstream.PickKey{})
//	if err != nil {
//		return err // *Unavailable: says why, for people and for programs
//	}
//	defer lease.Release()             // when the last byte has moved
//	conn, err := dial(lease.Endpoint().Address())
//	…
//	lease.Report(upstream.Result{Outcome: upstream.Success, Latency: firstByte})
//
// State that outlives an update (in-flight count, breaker, latency, health) lives in the
// Endpoint; an Endpoint lives as long as its instance keeps its ID and address. One that
// leaves is retired: those who keep connections to it are told through OnEvent.
//
// # What is usable
//
// An endpoint is usable if it is in the source's last set, its health check has not marked
// it down, and its breaker has not ejected it. A breaker ejects after failures in a row, as
// long as no more than Options.MaxEjected of the endpoints are out. When its time is over,
// the next request goes to the endpoint as a probe, one at a time, until one of them
// decides; a picker would not choose it, for its latency stands at what its failures cost.
//
// A registry that fails or a check that is wrong must not turn into an outage of its own:
//
//   - A source's error leaves the last set as it is.
//   - When nothing is usable but there are endpoints, the service fails open. If all are
//     down by their health checks, all that are not ejected are used. If the only ones that
//     are not down are ejected, those are used, and their breakers are passed over.
//
// # Why
//
// Each endpoint keeps its last decisions with their times and reasons, and so does the
// service as a whole. Status returns them, with what the source last said, as plain values.
package upstream
