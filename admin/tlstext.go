package admin

import (
	"cmp"
	"fmt"
	"time"
)

// due tells of certificates that should have been renewed by now.
func (t *table) due(s *Service, now time.Time) {
	for i := range s.TLS {
		for j := range s.TLS[i].Certificates {
			if c := &s.TLS[i].Certificates[j]; c.Due || now.After(c.NotAfter) {
				t.line("  certificate (%s) %s", printable(s.TLS[i].Side), certificate(c, now))
			}
		}
	}
}

// certificates tells of all of them.
func (t *table) certificates(s *Service, now time.Time) {
	for i := range s.TLS {
		side := &s.TLS[i]
		for j := range side.Certificates {
			t.row("  ", "certificate ("+printable(side.Side)+")", certificate(&side.Certificates[j], now))
		}
		if side.Problem != "" {
			t.row("  ", "new certificates ("+printable(side.Side)+")", "cannot be used: "+clipped(side.Problem, maxErrorText))
		}
	}
}

// certificate says until when one is good.
func certificate(c *Certificate, now time.Time) string {
	name, more := cmp.Or(c.Subject, "without a name"), ""
	if n := len(c.Names); n > 0 {
		name = c.Names[0]
		if n > 1 {
			more = fmt.Sprintf(" and %s", plural(n-1, "other name"))
		}
	}
	end := "expires in " + span(c.NotAfter.Sub(now))
	if now.After(c.NotAfter) {
		end = "expired " + span(now.Sub(c.NotAfter)) + " ago"
	}
	return fmt.Sprintf("of %s%s %s, on %s; %s", printable(name), more, end, c.NotAfter.UTC().Format(time.DateOnly), printable(c.File))
}
