// Package http routes each request to a service and forwards it.
//
// # Life of a request
//
// A client's connection that waits for a request is a client: a few words and a deadline,
// without task or buffer. Its first bytes start a task (client.Run), which takes an
// exchange from the loop's free list and serves requests until there is nothing left to
// read; then the connection is idle again.
//
// An exchange is one request and its response. It reads the head (package h1 parses it),
// writes the head to send on, and makes attempts: each acquires a lease on an endpoint,
// takes a connection from the loop's pool for that endpoint or dials one, sends, and waits
// for the head of the response. What may be tried again, and when, is decided in one place
// (exchange.again). Once the head of a response goes to the client there is no way back.
//
// Bodies move through two flows, one in each direction, which the exchange's task steps in
// turn: whatever one end has is checked by the framing of its message and written to the
// other end; a flow that cannot write stops reading, so a slow reader holds back the sender
// and not our memory. The task parks only when neither flow can move.
//
// Everything belongs to one loop: a client, its exchanges and the connections it uses are
// touched by that loop alone. The only things shared are the service's snapshot and the
// atomic counters of endpoints and metrics.
package http
