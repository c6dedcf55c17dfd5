// Package tap lets an operator watch the requests of a service as they pass.
//
//	loop 0: Point.Pass ─> filters, rate ─┐ non-blocking
//	loop 1: Point.Pass ─> filters, rate ─┴─> Watch.Records ─> whoever watches
//
// Each service has a Point. While nobody watches, which is nearly always, a request costs one load of
// a pointer and nothing else. While somebody does, each request is taken down as for the access log,
// and offered to each Watch when it has ended; the Watch wants it or not (Options), and takes at
// most so many per second: after a pause up to a second's worth at once, then evenly. What is beyond
// that is counted, and so is what the reader is too slow for. A loop never waits.
//
// Header fields are there when a Watch asks for them. Those that prove who somebody is are hidden
// unless it asks for these as well. Bodies are never there.
package tap
