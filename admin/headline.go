package admin

import (
	"fmt"
	"slices"
	"strings"
)

// A headline is how the sidecar stands, in a line.
type headline struct {
	State string `json:"state"` // well, draining, or the worst severity
	Text  string `json:"text"`
}

// headlineOf says whether all is well, and if not where it is not, the worst first.
func headlineOf(d *Document) headline {
	if d.Draining {
		return headline{"draining", "Draining: nothing more is accepted"}
	}
	outages, warnings, notes := named(d, Outage), named(d, Warning), len(named(d, Note))
	switch {
	case len(outages) > 0 && len(warnings) > 0:
		return headline{string(Outage), "Outage in " + enumerated(outages) + "; warning in " + enumerated(warnings)}
	case len(outages) > 0:
		return headline{string(Outage), "Outage in " + enumerated(outages)}
	case len(warnings) > 0:
		return headline{string(Warning), "Warning in " + enumerated(warnings)}
	case notes > 0:
		return headline{string(Note), "All is well, with " + plural(notes, "note")}
	case len(d.Services) == 0:
		return headline{"well", "All is well; there is no service"}
	}
	return headline{"well", "All is well"}
}

// named are the services with problems of a severity, each once; of notes, one for each.
func named(d *Document, s Severity) (names []string) {
	for i := range d.Problems {
		p := &d.Problems[i]
		if p.Severity != s {
			continue
		}
		name := clipped(p.Service, 40)
		if name == "" {
			name = "the sidecar as a whole"
		}
		if s == Note || !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// maxEnumerated is how many services the headline names.
const maxEnumerated = 3

// enumerated is names as a sentence has them.
func enumerated(names []string) string {
	if n := len(names) - maxEnumerated; n > 0 {
		names = append(slices.Clone(names[:maxEnumerated]), fmt.Sprintf("%d more", n))
	}
	if len(names) == 1 {
		return names[0]
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
