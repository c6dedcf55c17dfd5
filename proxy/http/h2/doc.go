// Package h2 is HTTP/2 (RFC 9113) on connections of an event loop. To its users each stream is a
// connection of HTTP/1.1: what is read from it and written to it is text of that version, so
// whoever serves or uses connections of HTTP/1.1 serves and uses streams.
//
//	client ─ socket ─ Server ─ stream: text ─ exchange ─ text: stream ─ Client ─ socket ─ endpoint
//
// # Parts
//
// A Server is made of an accepted connection and hands each request to its user as a stream; a
// Client is made of an established one and opens streams. Both are a conn: one task that reads
// frames, and everything that is known of the connection. A stream is the eventloop.Layer of
// what its user has. The translation between header lists and text is in files translate*.go
// and knows nothing of connections.
//
// # Sending
//
// Frames are appended to one buffer and leave in one write at the end of the loop's turn,
// however many streams they are of. When the peer does not take them, streams have to wait as
// soon as 256 KiB are ready, and then send in turn. Header blocks are made and appended in one
// go, since they have to be sent in the order in which they were made.
//
// # Receiving
//
// Data waits with its stream until it is read, which is when the windows are given back; so a
// connection's window bounds what waits on it.
//
// # Abuse
//
// What costs us more than the peer is bounded: see limits.go for how much, and Flood for what.
// A connection that exceeds it ends with GOAWAY and ENHANCE_YOUR_CALM.
//
// Everything is touched on the loop of the connection only, and nothing blocks or locks.
package h2
