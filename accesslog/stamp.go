package accesslog

import "time"

// A stamp keeps the last second as text: most lines of a busy loop share it.
type stamp struct {
	second  int64
	iso     [len("2026-01-31T12:00:00")]byte
	clf     [len("31/Jan/2026:13:00:00 +0100")]byte
	written bool
}

func (s *stamp) set(t time.Time, zone *time.Location) {
	if second := t.Unix(); second != s.second || !s.written {
		// A year beyond 9999 would not fit, and is cut.
		t.UTC().AppendFormat(s.iso[:0], "2006-01-02T15:04:05")
		t.In(zone).AppendFormat(s.clf[:0], "02/Jan/2006:15:04:05 -0700")
		s.second, s.written = second, true
	}
}

// appendISO writes a moment to the millisecond, in UTC.
func (s *stamp) appendISO(b []byte, t time.Time, zone *time.Location) []byte {
	s.set(t, zone)
	ms := t.Nanosecond() / 1e6
	return append(append(b, s.iso[:]...), '.', digit(ms/100), digit(ms/10), digit(ms), 'Z')
}

// appendCLF writes a second as Apache does.
func (s *stamp) appendCLF(b []byte, t time.Time, zone *time.Location) []byte {
	s.set(t, zone)
	return append(b, s.clf[:]...)
}

func digit(n int) byte { return byte('0' + n%10) }

// appendSeconds writes a duration in seconds to the microsecond: 0.001234.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(0, int64(d/time.Microsecond))
	b = appendInt(b, us/1e6)
	rest := int(us % 1e6)
	return append(b, '.', digit(rest/1e5), digit(rest/1e4), digit(rest/1e3), digit(rest/100), digit(rest/10), digit(rest))
}
