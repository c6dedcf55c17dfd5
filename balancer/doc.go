// Package balancer holds the policies that pick an endpoint for a request.
//
// A policy is made once per service and makes a picker for each snapshot of usable
// endpoints; the data path only uses pickers:
//
//		upstream.Options{Policy: balancer.Zoned("eu-1a", balancer.P2C())}
//		…
//		endpoint := snapshot.Picker.Pick(upstream.PickKey{}, tried)
//
//	  - P2C compares the cost, latency times load, of two random endpoints. Failures count
//	    as latency.
//	  - LeastConn takes the endpoint with the fewest leases.
//	  - RoundRobin takes the endpoints in turn.
//	  - Random takes any.
//	  - RingHash sends equal keys to the same endpoint, within a bound of its load. The keys
//	    are made by Hash. It wants upstream.Options.CountInFlight.
//	  - Zoned keeps requests in the own zone while that has the capacity; within a zone one
//	    of the others decides. It makes no sense with RingHash.
//
// All respect weights: over time an endpoint of weight 2 gets, or under load carries, twice
// what one of weight 1 does. Pickers keep no state of the endpoints; what they compare
// lives in the Endpoint and survives the snapshot. Pick takes no lock and does not
// allocate. Time and random numbers are those of the service, so that a simulation can have
// its own. Endpoints that have asked for a pause or begin slowly are passed over by
// upstream.Service.Acquire, which picks again.
package balancer
