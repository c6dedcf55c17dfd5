// Package tcp splices each accepted connection to an endpoint.
//
// # Life of a session
//
// A Proxy is the Acceptor of a service's listeners. Each connection becomes a session on
// the loop that accepted it, and never leaves that loop:
//
//	accept → Acquire a lease → dial → move bytes both ways → end
//
// Where services share a socket, a Router is its Acceptor: it looks at the name in the ClientHello
// and begins the session of the Proxy that the name leads to.
//
// Dialling may be repeated: as long as no endpoint has accepted, nothing of the client's has
// been read, so the next endpoint can be tried at once and nothing is lost. Endpoints that
// failed are avoided. When none is left, or none was usable to begin with, the client gets a
// reset, and the log and the metrics say why.
//
// What the client sends and what the endpoint sends are two directions, moved by one task.
// A direction is either reading (it holds nothing) or flushing (it holds bytes its receiver
// has not taken, and reads nothing until they are gone), so a slow receiver holds back the
// sender and costs one buffer or one pipe. There are two ways to move:
//
//   - Messages are read into a buffer of the loop and written at once. The buffer goes back
//     right away unless the receiver was full.
//   - Bulk is moved inside the kernel by splice(2), through a pipe of the loop. A read that
//     fills the whole buffer makes a direction bulk; a run of small fills ends it. The pipe
//     goes back as soon as it is empty and the sender has no more.
//
// A session in which nothing is under way has no task, no buffer and no pipe: both
// connections are left idle, and whichever has something to say starts a task again.
//
// # Ends
//
// An end of stream (FIN) is passed on after everything before it has been delivered, and
// the other direction runs on for as long as it takes. When both have ended, so has the
// session. Everything else that ends a session is passed on as a reset, to both sides, so
// that a broken stream never looks like a complete one: a reset from either side, a write
// that failed, no byte either way for IdleTimeout, an endpoint that was retired or marked
// down (with CloseOnDown), a drain that ran out of time. When one side resets, what it sent
// before is still delivered as far as the other one takes it without waiting. (A Unix socket
// knows no reset: its peer sees an end.)
//
// The lease's outcome is reported as soon as the endpoint has accepted or failed; the lease
// itself is released when the session ends.
package tcp
