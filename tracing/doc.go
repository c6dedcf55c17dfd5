// Package tracing has requests seen as spans by a collector of OpenTelemetry, and passes the
// trace that a request belongs to from its client to its endpoint.
//
//	loop 0: Shard.Begin ─> Context ─> traceparent of each try
//	        Shard.Record ──appends──> chunk ──┐ non-blocking        ┌> POST (OTLP over HTTP)
//	loop 1: Shard.Record ──appends──> chunk ──┴─────────> Tracer.run┴> … (one goroutine)
//	              <───────────────── empty chunks ────────┘
//
// Each loop has a Shard that only it touches. A span is written when it has ended, once, in
// the form in which it is sent, into the shard's chunk: no lock, no allocation, no system
// call, and no objects in between. A full chunk is handed to the one goroutine that sends;
// where nothing more may wait, spans are dropped and counted, and the loop never waits. Once
// in a while (Options.Flush) the goroutine has each loop hand over what it has.
//
// # Context
//
// What a client says in traceparent is read as W3C Trace Context has it
// (https://www.w3.org/TR/trace-context/, 2021): version 00 to the letter, later ones as far as
// they are like it, version ff and ids of zeros not at all. What cannot be read is as if it had
// not been sent: the trace begins here, and a tracestate that came with it is not passed on.
// Otherwise tracestate passes as it came.
//
// Whether a trace is recorded has been decided by whoever began it, and the client's flag
// "sampled" holds. Where the trace begins here, its id decides: it is recorded if the last eight
// bytes of it, as a number, are below that share of all such numbers. This is what the
// samplers of OpenTelemetry's SDKs do (TraceIdRatioBased), so whoever asks the same id for a
// larger share records at least what is recorded here.
//
// Of a trace that is not recorded no span is made. Its traceparent goes on with the flag not
// set: the client's own as it came, or a new one.
//
// # Sending
//
// Spans go as OTLP has it (https://opentelemetry.io/docs/specs/otlp/#otlphttp): protobuf, with
// gzip. 429, 502, 503 and 504, and a connection that fails, are tried again: after what
// Retry-After says, or 1 s, doubled each time up to 30 s, half of it at random. What has not
// been taken after a minute is given up, and what is answered with anything else at once.
package tracing
