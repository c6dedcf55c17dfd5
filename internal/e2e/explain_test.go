package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sidecar/upstream"
)

// explain is what `sidecar explain` prints of a service.
func (s *sidecar) explain(service string) string {
	s.t.Helper()
	r := command(s.t, "", nil, "explain", service, "--admin", s.Address)
	if r.code != 0 {
		s.t.Fatalf("sidecar explain %s: %+v", service, r)
	}
	return r.out
}

// remark is what explain says of one endpoint: its line in the table, and the notes below it.
func remark(text, id string) string {
	_, table, _ := strings.Cut(text, "\nendpoints;")
	table, _, _ = strings.Cut(table, "\ndecisions,")
	var found []string
	for line := range strings.Lines(table) {
		switch {
		case len(found) == 0 && !strings.HasPrefix(strings.TrimSpace(line), id+" "):
		case len(found) > 0 && !strings.HasPrefix(line, "      "):
			return strings.Join(found, "")
		default:
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// wantExplained waits until explain says all of these words of an endpoint ("a|b" is one of
// them). Meanwhile nobody may be taken for failing who is not. It returns what was said.
func (s *sidecar) wantExplained(service, address string, words ...string) string {
	s.t.Helper()
	text, missing := "", ""
	tell := func() bool {
		text = s.explain(service)
		missing = lacking(remark(text, s.id(service, address)), words)
		return missing == ""
	}
	defer func() {
		if missing != "" {
			s.t.Logf("explain says:\n%s", text)
		}
	}()
	within(s.t, soon, fmt.Sprintf("explain says of %s what is wanted: %q", address, words), tell)
	for _, e := range s.service(service).Endpoints {
		if e.Address != address && (e.State != upstream.StateUsable || strings.Contains(e.Verdict, "it fails")) {
			s.t.Errorf("explain speaks ill of %s as well: %s, %s", e.Address, e.State, e.Verdict)
		}
	}
	said := remark(text, s.id(service, address))
	s.t.Logf("explain says:\n%s", said)
	return said
}

// lacking is which of the words is not in text, or empty.
func lacking(text string, words []string) string {
	for _, word := range words {
		found := false
		for choice := range strings.SplitSeq(word, "|") {
			found = found || strings.Contains(text, choice)
		}
		if !found {
			return word
		}
	}
	return ""
}

// id is the name by which the sidecar knows an address.
func (s *sidecar) id(service, address string) string {
	s.t.Helper()
	return s.endpoint(service, address).ID
}

// addresses are those of origins.
func addresses(origins []*origin) []string {
	var all []string
	for _, o := range origins {
		all = append(all, o.address)
	}
	return all
}

// serveOrigins starts as many as names, all of which take as long to answer.
func serveOrigins(t *testing.T, names ...string) []*origin {
	t.Helper()
	var all []*origin
	for _, name := range names {
		all = append(all, serveOrigin(t, name))
	}
	return all
}
