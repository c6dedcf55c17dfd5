package accesslog

import "strconv"

// variables are what a format may use; doc.go says what they are.
var variables = []struct {
	name  string
	value valueFunc
}{
	{"time", func(b []byte, s *Shard, _ *charset) []byte {
		return s.stamp.appendISO(b, s.record.Time, s.logger.zone)
	}},
	{"time_clf", func(b []byte, s *Shard, _ *charset) []byte {
		return s.stamp.appendCLF(b, s.record.Time, s.logger.zone)
	}},
	{"service", func(b []byte, s *Shard, safe *charset) []byte { return appendText(b, s.record.Service, safe) }},
	{"client", func(b []byte, s *Shard, _ *charset) []byte { return appendAddress(b, s.record.Client) }},
	{"client_ip", func(b []byte, s *Shard, _ *charset) []byte {
		if a := s.record.Client.Addr(); a.IsValid() {
			b = plain(a).AppendTo(b)
		}
		return b
	}},
	{"method", func(b []byte, s *Shard, safe *charset) []byte {
		return appendClipped(b, s.record.Method, mostMethod, safe)
	}},
	{"target", func(b []byte, s *Shard, safe *charset) []byte {
		return appendClipped(b, s.record.Target, mostTarget, safe)
	}},
	{"path", func(b []byte, s *Shard, safe *charset) []byte {
		path, query := s.record.path()
		return appendCut(b, path, len(s.record.Target) > mostTarget && len(query) == 0, safe)
	}},
	{"query", func(b []byte, s *Shard, safe *charset) []byte {
		_, query := s.record.path()
		return appendCut(b, query, len(s.record.Target) > mostTarget && len(query) > 0, safe)
	}},
	{"protocol", func(b []byte, s *Shard, safe *charset) []byte { return appendText(b, s.record.Protocol, safe) }},
	{"request", appendRequest},
	{"host", func(b []byte, s *Shard, safe *charset) []byte {
		return appendClipped(b, s.record.Host, mostHost, safe)
	}},
	{"status", func(b []byte, s *Shard, _ *charset) []byte {
		if s.record.Status == 0 {
			return append(b, "000"...)
		}
		return appendInt(b, int64(s.record.Status))
	}},
	{"grpc_status", func(b []byte, s *Shard, safe *charset) []byte { return appendText(b, s.record.GRPC, safe) }},
	{"bytes_in", func(b []byte, s *Shard, _ *charset) []byte { return appendInt(b, s.record.BytesIn) }},
	{"bytes_out", func(b []byte, s *Shard, _ *charset) []byte { return appendInt(b, s.record.BytesOut) }},
	{"body_out", func(b []byte, s *Shard, _ *charset) []byte { return appendInt(b, s.record.BodyOut) }},
	{"duration", func(b []byte, s *Shard, _ *charset) []byte { return appendSeconds(b, s.record.Duration) }},
	{"first_byte", func(b []byte, s *Shard, _ *charset) []byte {
		if s.record.FirstByte > 0 {
			b = appendSeconds(b, s.record.FirstByte)
		}
		return b
	}},
	{"attempts", appendTries},
	{"tries", func(b []byte, s *Shard, _ *charset) []byte { return appendInt(b, int64(s.record.Attempts.Count())) }},
	{"endpoint", func(b []byte, s *Shard, safe *charset) []byte {
		if list, _ := s.record.Attempts.listed(); len(list) > 0 {
			b = appendText(b, list[len(list)-1].Endpoint, safe)
		}
		return b
	}},
	{"flag", func(b []byte, s *Shard, safe *charset) []byte { return appendText(b, s.record.Flag, safe) }},
	{"trace_id", func(b []byte, s *Shard, _ *charset) []byte { return append(b, TraceID(s.record.Traceparent)...) }},
	{"tunnel", func(b []byte, s *Shard, _ *charset) []byte { return strconv.AppendBool(b, s.record.Tunnel) }},
	{"referer", func(b []byte, s *Shard, safe *charset) []byte {
		return appendClipped(b, s.record.Referer, mostReferer, safe)
	}},
	{"user_agent", func(b []byte, s *Shard, safe *charset) []byte {
		return appendClipped(b, s.record.UserAgent, mostUserAgent, safe)
	}},
}

// appendRequest writes the request line. Its two blanks are the only ones in it: safe has none.
func appendRequest(b []byte, s *Shard, safe *charset) []byte {
	r := &s.record
	if len(r.Method) == 0 {
		return b
	}
	b = append(appendClipped(b, r.Method, mostMethod, safe), ' ')
	if len(r.Target) == 0 {
		b = append(b, '-')
	}
	b = append(appendClipped(b, r.Target, mostTarget, safe), ' ')
	if r.Protocol == "" {
		b = append(b, '-')
	}
	return appendText(b, r.Protocol, safe)
}

// appendTries writes "10.0.0.1:80=reset:0:0.001000,10.0.0.2:80=ok:200:0.002000".
func appendTries(b []byte, s *Shard, safe *charset) []byte {
	list, omitted := s.record.Attempts.listed()
	for i := range list {
		a := &list[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, a.Endpoint, safe), '=')
		b = append(appendText(b, a.Outcome, safe), ':')
		b = append(appendInt(b, int64(a.Status)), ':')
		b = appendSeconds(b, a.Duration)
	}
	if omitted > 0 {
		b = appendInt(append(b, ",+"...), int64(omitted))
	}
	return b
}

// appendClipped writes what a client sent.
func appendClipped(b, v []byte, most int, safe *charset) []byte {
	return appendCut(b, v[:min(len(v), most)], len(v) > most, safe)
}

// appendCut writes a value, and "..." if it has been cut.
func appendCut(b, v []byte, cut bool, safe *charset) []byte {
	b = appendText(b, v, safe)
	if cut {
		b = append(b, "..."...)
	}
	return b
}

// appendText writes a value with everything that is not safe as \xHH.
func appendText[T string | []byte](b []byte, v T, safe *charset) []byte {
	from := 0
	for i := range len(v) {
		if c := v[i]; !safe[c] {
			b = append(append(b, v[from:i]...), '\\', 'x', hex[c>>4], hex[c&15])
			from = i + 1
		}
	}
	return append(b, v[from:]...)
}
