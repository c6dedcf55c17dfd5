// Package limiter learns how many requests a service can have in flight.
//
// One Gradient guards one service. Every request asks Allow first and, when it is allowed,
// is counted out exactly once, by Done or by Drop:
//
//	if !g.Allow() {
//		// 503 at once
//	}
//	…
//	g.Done(now, firstByte, true) // or g.Drop(now): it ran into its timeout
//
// A service that gets more than it can do answers as much as before, only later: what is
// too much waits, for longer and longer, until the clients give up what is then done in
// vain. The latency shows that a queue is forming. So a Gradient lets no more in than keeps
// the queue short, and what is beyond that is told at once.
//
// # How the limit is found
//
// The algorithm is gradient2 of Netflix's concurrency-limits. Time is cut into windows, and
// at the end of each, with short the mean latency in it and long that without a queue,
//
//	gradient = Tolerance × long / short, at least 1/2 and at most 1
//	next     = limit × gradient + √limit
//	limit    = limit × 0.8 + next × 0.2, at least Min and at most Max
//
// √limit is the queue that is allowed, and what makes the limit grow while the gradient is
// 1. A limit of which less than half was used stays as it is: such a window says nothing
// about it. By Little's law a service that works on c requests at a time and has a queue
// takes limit/c times its latency without one, so the limit settles where
// limit = Tolerance × c + √limit.
//
// The others were left aside for reasons. AIMD needs a failure to learn from, and its users
// have had it by then. Vegas compares with the lowest latency ever seen, which for
// requests of different sizes is far below the usual one, and steps by a constant, which is
// slow for large limits and coarse for small ones. Envoy's gradient controller learns the
// latency without a queue by letting only 3 requests in for 50 samples, once a minute.
//
// # Where it departs from gradient2
//
// Netflix lets long follow short. Under a lasting overload it learns the queue as the
// normal state, the gradient comes back to 1, and the limit grows until it means nothing.
// Here long comes from windows that can know it:
//
//   - A window that used less than half of the limit moves long either way, by its share
//     of 30 s.
//   - Any other window only moves it down, and by a tenth while it is more than twice
//     short.
//   - While the limit is in full use, about every Probe, a dip answers the question: the
//     limit is lowered for some windows to 0.8 × limit × long / short. That is the queue
//     as it is believed to be and a little more, so the service hardly runs short of work,
//     unlike with a fixed small number. If latency falls below long, long was too high: the
//     dip goes a fifth deeper, until that no longer helps. If latency stays above long
//     although there should be no queue, the service itself has become slower, and long
//     goes half of the way, to 2.5 times what was last known for sure at most. The first
//     full window after New begins a dip at once, for it may be in the middle of an
//     overload. What was let in before a step is not measured for it.
//   - After 20 windows with the lowest gradient, which cut a large limit to about an eighth,
//     the latency should have followed. A dip to half of the limit looks whether it does,
//     and what that finds is believed in full. It is the way out for a limit that holds a
//     service to a latency that it no longer has. (Envoy measures anew after 5 windows at
//     its minimum.)
//   - Dips take at most a twentieth of the time, and chance keeps many proxies from dipping
//     together.
//
// Known for sure is what such a dip has found, and what was learnt while the limit was not
// in full use.
//
// And against noise: a window lasts until it has enough samples and at least twice as long
// as a request, so that it can see what the limit did; one sample counts for at most 8 times
// long; few samples move long by little.
//
// A timeout has no latency to speak of: were the timeout's length taken for one, a service
// of which every answer is a timeout would look steady. Drop counts it as a share of the
// window instead, by which the gradient falls; from a tenth on nothing is added either.
//
// What it cannot know: where many proxies overload one service together, each sees the queue
// of the others, and its own dip does not take that away. It looks like a slower service, and
// not to believe in one at all would starve those that are. Two or three proxies allow a queue
// of some three times the workers; with ten or more, long rises slowly for as long as the
// overload lasts, as it does with Envoy and Netflix, and falls at once when it ends. There
// Max, and limits of the service's own, have to hold the load.
package limiter
