// Package breaker decides whether an endpoint may be tried.
//
// One Breaker guards one endpoint. Every attempt asks Allow first and, when it is allowed,
// reports its outcome through the Permit it was given:
//
//	permit, ok := b.Allow()
//	if !ok {
//		// somewhere else
//	}
//	…
//	permit.ReportAt(breaker.Success, now)
//
// A breaker is closed until Settings.ConsecutiveFailures attempts have failed in a row, or
// until less than Settings.SuccessRate of those in a sliding window have succeeded. It then
// opens, if MayTrip agrees, and lets nothing through until ReadyAt. From then on it lets one
// attempt at a time through, the probe: a success closes it, a failure opens it again for
// twice as long, and an ignored outcome hands the probe to the next attempt. Reset closes it
// without a probe. Counts and Reason tell what it has decided by.
//
// The state machine is gobreaker's two-step breaker. Around it this package adds what a
// data path needs:
//
//   - While the breaker is closed and nothing has failed, neither Allow nor ReportAt reaches
//     gobreaker, which takes a mutex and allocates a closure for each attempt. A success
//     that follows no failure changes nothing, so an atomic mirror of gobreaker's count of
//     consecutive failures decides whether it has to be told. All that such a success leaves
//     behind is one atomic addition in the window.
//   - gobreaker's open time is a constant. Here it doubles up to a limit and is jittered,
//     so that many proxies that saw the same failure do not probe in step: an atomic ready
//     time stands in front of gobreaker, whose own timeout has always passed by then.
//   - gobreaker's counts, too, are under its mutex. The window is internal/window's, and
//     each closed period has its own, so that what was before an ejection cannot eject
//     again.
//   - A refusal takes no lock and does not allocate, neither before ReadyAt nor while a
//     probe is out.
package breaker
