// Package accesslog writes one line per request, off the loops.
//
//	loop 0: Shard.Log ──appends──> chunk ──┐ non-blocking        ┌> write(2)
//	loop 1: Shard.Log ──appends──> chunk ──┴─────────> Logger.run┴> … (one goroutine)
//	            <───────────────── empty chunks ─────────┘
//
// Each loop has a Shard that only it touches. Log formats the line into the shard's chunk: no
// lock, no allocation, no system call. A full chunk is handed to the one goroutine that
// writes; where nothing more may wait, lines are dropped and counted, and the loop never
// waits. Once in a while (Options.Flush) the goroutine posts to each loop that has lines in
// an unfilled chunk, asking it to hand that over too. Lines of one loop keep their order.
//
// # Formats
//
// "json" is one object per line. "combined" is that of Apache and nginx:
//
//	$client_ip - - [$time_clf] "$request" $status $body_out "$referer" "$user_agent"
//
// Anything else is a line with variables, $name or ${name}; $$ is a dollar. A variable
// without a value is "-". These are the variables, and those marked * are keys of json:
//
//	time        * when the request's head was complete, UTC: 2026-01-31T12:00:00.000Z
//	time_clf      the same as Apache has it, local: 31/Jan/2026:13:00:00 +0100
//	service     * name of the service
//	client      * address and port of the client; empty for a Unix socket
//	client_ip     the address alone
//	method      * as sent; empty if what came was not HTTP
//	target        what was asked for, as sent: path and query, or a whole URL
//	path        * the target's path alone
//	query       * what follows its "?"; not in json if there is none
//	protocol    * HTTP/1.0, HTTP/1.1 or HTTP/2.0; empty if what came was not HTTP
//	request       "method target protocol"
//	host        * the host that the request is for
//	status      * what the client was answered with; 0 (in text 000): with nothing
//	grpc_status * of a call of gRPC: its number, or "missing"; else not in json
//	bytes_in    * bytes received from the client for this request, head and framing included
//	bytes_out   * bytes sent to the client, likewise
//	body_out      bytes of the answer's body alone
//	duration    * seconds from the request's head to the answer's last byte, to the microsecond
//	first_byte  * seconds to the first byte of an endpoint's answer; not in json if none came
//	attempts    * every try: endpoint, outcome, status (0: no answer), duration; in text
//	              endpoint=outcome:status:duration, with commas between them
//	tries         how many there were
//	endpoint      that of the last one
//	flag        * how it ended, see below
//	trace_id    * of the request's traceparent (W3C), or with tracing of the endpoint's; not in json if there is none
//	tunnel      * true if it became a tunnel; else not in json
//	referer     * as sent; not in json if it was not
//	user_agent  * as sent; not in json if it was not
//
// Of a request with more than MaxAttempts tries the first ones and the last are listed; how
// many are missing between is json's attempts_omitted, and "+N" in text. What clients send is
// cut to a bounded length, with "..." behind it.
//
// # Flags
//
// The flag is "ok" when the answer reached its end, whatever its status. Everything else is a
// cause, the word that stands in Sidecar-Error and in the label cause of the metrics: with a
// status of the sidecar's own (502, 503, 504, 4xx) it says why there was no better answer,
// with another one why that answer broke off. "client-gone" is a client that did not wait for
// the end, "client-timeout" one that stalled, "reset" and "timeout" an endpoint that did.
//
// # What a line cannot be
//
// A line is one line, whatever was sent. In json, control characters, quotes, backslashes and
// what is not UTF-8 are escaped or replaced. In text, every byte but printable ASCII becomes
// \xHH, and so do quotes, backslashes, the mark that follows the variable in the format, and
// blanks outside of double quotes: a value ends where the format says it does.
package accesslog
