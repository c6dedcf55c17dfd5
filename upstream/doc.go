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
//	lease, err := s.Acquire(upstream.PickKey{Repeatable: true})
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
// it down, its breaker has not ejected it, and the operator has not drained it.
//
// A breaker ejects after failures in a row, or for its success rate; never more than
// Options.MaxEjected of the endpoints at once, and never the last. A rate is judged beside
// that of the others: where all fail alike, none is ejected for it. While most of the others
// fail, ejections do not get longer either, so that nobody is missing when it is over.
//
// When the time of an ejection is over, the endpoint is probed by one request at a time,
// until one of them decides. For a second only requests that may be repeated are taken for
// that, and retries only if there is nothing else. A health check that brings an endpoint up
// ends its ejection too.
//
// An instance that the source has dropped is retired. With HealthCheck.KeepDropped that
// takes both, the source and the check: it serves on until its check fails, until it is
// listed again, or until another instance has its address.
//
// What the operator drains (SetDrained) stays out whatever the others say, and is neither ejected nor
// counted by what follows. It is used only where all are drained and there is no fallback.
//
// A registry that fails or a check that is wrong must not turn into an outage of its own:
//
//   - A source's error leaves the last set as it is.
//   - When fewer than Options.Panic of the endpoints are usable, those that are down by
//     their health checks are used as well. Breakers still hold.
//   - When nothing is usable, Options.Fallback is used, until something is. Fallback
//     instances are not checked and never ejected.
//   - Without a fallback the service fails open. If all are down by their health checks, all
//     that are not ejected are used. If the only ones that are not down are ejected, those
//     are used, and their breakers are passed over.
//
// # What a usable endpoint gets
//
// The picker decides, by what it reads of the endpoints. A failure is no sample of the
// latency, but has a price: Endpoint.LatencyAt raises the latency by the share of attempts
// that fail, which is an average by outcome and forgotten within seconds. So one that fails
// within a millisecond does not look like the fastest, and yet is tried again soon.
//
// Two things have Acquire pass over the picker's choice, in favour of another if there is
// one. An endpoint that has asked for a pause, by Retry-After, is left alone for that long,
// a minute at most; so are its probes. And one that comes back or joins others begins with
// a tenth of its share, which grows to the whole within Options.SlowStart. Where all are
// new, all begin at once; where all are paused, all are used.
//
// Limits refuse at once what would be too much, and say which limit it was: leases,
// connections, and connections that are being made, per endpoint and for the service
// (BeginConnect counts connections). Options.Adaptive learns the limit of leases from the
// latency of answers; what runs into a timeout or is sent away by the endpoint speaks
// against more, other failures say nothing.
//
// # Why
//
// Each endpoint keeps its last decisions with their times, reasons and evidence, and its
// last failures; so does the service as a whole its decisions. A change of verdict is one
// line in the log. Once a second, while there is traffic, the endpoints are compared, and
// it is noted which have become slow or failing, or are even with the others again; without
// new outcomes that does not change. Status returns all of it as plain values, with what the
// source last said, and a sentence for each endpoint and for the service on how they stand.
//
// # Simulations
//
// With Options.Clock and Options.Random a service lives in virtual time and by a seed. Feed
// and Step take the place of Run then.
package upstream
