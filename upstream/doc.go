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
// State that outlives an update (in-flight count, breaker, latency, health) lives in the
// Endpoint; an Endpoint lives as long as its instance keeps its ID and address. One that
// leaves is retired: those who keep connections to it are told through OnEvent.
package upstream
