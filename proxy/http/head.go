package http

import (
	"net/http"
	"strconv"
	"time"

	"sidecar/proxy/http/h1"
)

var (
	forwardedKinds = h1.Kinds(h1.KindXForwardedFor)
	protoKinds     = h1.Kinds(h1.KindXForwardedProto)
	hostKinds      = h1.Kinds(h1.KindXForwardedHost)
	hostFieldKinds = h1.Kinds(h1.KindHost)
	hopsKinds      = h1.Kinds(h1.KindMaxForwards)
)

// appendRequest writes the head to send on: what passes end to end as it came, then what
// the sidecar adds, which nothing that a client names in Connection can take away. Its end is
// endHead's.
func (x *exchange) appendRequest(out []byte) []byte {
	r, o := &x.req, &x.shard.set.Forward
	without := x.retraced
	if o.Rewrite != "" {
		without |= hostFieldKinds
	}
	forwarded := o.For != ForwardedOff
	proto := forwarded && o.Proto && (o.For == ForwardedSet || !r.Passes(h1.KindXForwardedProto))
	host := forwarded && o.Host && len(r.Host) > 0 && (o.For == ForwardedSet || !r.Passes(h1.KindXForwardedHost))
	if forwarded {
		without |= forwardedKinds
	}
	if proto || o.For == ForwardedSet {
		without |= protoKinds
	}
	if host || o.For == ForwardedSet {
		without |= hostKinds
	}
	hops, counted := r.MaxForwards()
	if counted {
		without |= hopsKinds
	}

	out = r.AppendRequestLine(out)
	switch {
	case o.Rewrite != "":
		out = appendField(out, "Host: ", o.Rewrite)
	case r.HostAt < 0 && len(r.Host) > 0: // of an absolute target, RFC 9112 §3.2.2
		out = h1.AppendField(out, "Host", r.Host)
	case r.HostAt < 0:
		out = appendField(out, "Host: ", x.shard.proxy.name)
	}
	out = r.AppendFields(out, without)
	if counted {
		out = appendNumber(out, "Max-Forwards: ", int(hops)-1) // refuse has seen to 0
	}
	if r.Body.Kind == h1.Chunked {
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.Upgrade {
		out = appendUpgrade(out, &r.Head)
	}
	if r.Trailers {
		out = append(out, "TE: trailers\r\nConnection: TE\r\n"...)
	}
	if forwarded {
		out = x.appendForwardedFor(out)
	}
	if proto {
		out = append(out, x.shard.set.proto...)
	}
	if host {
		out = h1.AppendField(out, "X-Forwarded-Host", r.Host)
	}
	if r.Minor == 0 {
		out = append(out, x.shard.set.via10...)
	} else {
		out = append(out, x.shard.set.via...)
	}
	if x.retraced != 0 && !x.sampled {
		out = x.trace.append(out, x.trace.context.Span)
	}
	return out
}

// endHead ends the head of a try with what is left of the client's time, and with its place in the
// trace. What precedes that is not made again: the request's own fields may be gone from memory by
// then.
func (x *exchange) endHead(t *try) {
	out := x.appendDeadline(x.reqHead[:x.untimed])
	if x.sampled {
		x.markTry(t)
		out = x.trace.append(out, t.mark.span)
	}
	x.reqHead = append(out, "\r\n"...)
}

// appendForwardedFor adds the client's address at the end of one field, behind what came in
// possibly several.
func (x *exchange) appendForwardedFor(out []byte) []byte {
	r := &x.req
	addr := x.conn.RemoteAddrPort().Addr()
	known := x.shard.set.Forward.For == ForwardedAppend && r.Passes(h1.KindXForwardedFor)
	if !known && !addr.IsValid() {
		return out // a Unix socket: there is nothing to say
	}
	out = append(out, "X-Forwarded-For: "...)
	start := len(out)
	if known {
		for i := range r.Fields {
			if r.Fields[i].Kind != h1.KindXForwardedFor || r.Fields[i].Drop || len(r.Value(i)) == 0 {
				continue
			}
			if len(out) > start {
				out = append(out, ", "...)
			}
			out = append(out, r.Value(i)...)
		}
	}
	if addr.IsValid() {
		if len(out) > start {
			out = append(out, ", "...)
		}
		out = addr.AppendTo(out)
	}
	return append(out, "\r\n"...)
}

// appendResponse writes the head to answer with. The framing is the endpoint's, unless it
// delimits the body by its end and the client knows chunks, or sends chunks that the client
// does not know.
func (x *exchange) appendResponse(out []byte) []byte {
	r := &x.resp
	out = r.AppendStatusLine(out)
	out = r.AppendFields(out, 0)
	switch {
	case r.Body.Kind == h1.Chunked && !x.back.body.Decode, x.back.encode:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case r.Status == http.StatusSwitchingProtocols:
		out = appendUpgrade(out, &r.Head)
	case r.Status >= 200:
		if r.Status == http.StatusUpgradeRequired && r.Upgrade {
			out = appendUpgrade(out, &r.Head) // RFC 9110 §15.5.22
		}
		out = x.appendConnection(out)
		if x.shard.set.Forward.Date && !r.Seen.Has(h1.KindDate) {
			out = x.shard.appendDate(out)
		}
	}
	if r.Minor == 0 {
		out = append(out, x.shard.set.via10...)
	} else {
		out = append(out, x.shard.set.via...)
	}
	return append(out, "\r\n"...)
}

// appendConnection tells the client whether its connection goes on, where its version does
// not say so already.
func (x *exchange) appendConnection(out []byte) []byte {
	switch {
	case x.last:
		return append(out, "Connection: close\r\n"...)
	case x.req.Minor == 0:
		return append(out, "Connection: keep-alive\r\n"...)
	}
	return out
}

func appendField(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, value...)
	return append(out, "\r\n"...)
}

func appendNumber(out []byte, name string, n int) []byte {
	out = append(out, name...)
	out = strconv.AppendInt(out, int64(n), 10)
	return append(out, "\r\n"...)
}

// A date is the text of a second, in the form of a Date field.
type date struct {
	second int64
	text   []byte
}

// appendDate adds the present time as Date (RFC 9110 §6.6.1: a recipient with a clock adds it
// to a message that it forwards without one).
func (s *shard) appendDate(out []byte) []byte {
	now := time.Now()
	if now.Unix() != s.date.second {
		s.date.second = now.Unix()
		s.date.text = now.UTC().AppendFormat(s.date.text[:0], http.TimeFormat)
	}
	return h1.AppendField(out, "Date", s.date.text)
}
