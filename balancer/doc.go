// Package balancer holds the policies that pick an endpoint for a request.
//
// A policy is made once per service and makes a picker for each snapshot of usable
// endpoints; the data path only uses pickers:
//
//		upstream.Options{Policy: balancer.P2C()}
//		…
//		endpoint := snapshot.Picker.Pick(upstream.PickKey{}, tried)
//
//	  - P2C compares the cost, latency times load, of two random endpoints.
//	  - LeastConn takes the endpoint with the fewest leases.
//	  - RoundRobin takes the endpoints in turn.
//	  - Random takes any.
//
// All respect weights: over time an endpoint of weight 2 gets, or under load carries, twice
// what one of weight 1 does. Pickers keep no state of the endpoints; what they compare
// lives in the Endpoint and survives the snapshot. Pick takes no lock and does not
// allocate. Random numbers come from the lock-free source of math/rand/v2.
package balancer
