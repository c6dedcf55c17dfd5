package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Explanation is everything about one service, as /explain/SERVICE tells it: its verdict
// and those of its endpoints, and what led to them. In JSON it is the service as /status
// shows it, with one field more.
type Explanation struct {
	At time.Time `json:"at"` // when this was written; ages are counted from here
	Service
}

// Verdicts are how all services stand, as /explain tells it, in the order of the
// configuration.
type Verdicts struct {
	At       time.Time `json:"at"`
	Services []Verdict `json:"services"`
}

// A Verdict is how one service stands.
type Verdict struct {
	Service string `json:"service"`
	Verdict string `json:"verdict"`
	Usable  int    `json:"usable"` // endpoints that requests may be sent to, but for the fallback
	Total   int    `json:"total"`  // … of how many
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	format, ok := s.negotiate(w, r, typeJSON, typeText)
	if !ok {
		return
	}
	name := r.PathValue("service")
	service, known := s.service(name)
	if !known {
		s.write(w, http.StatusNotFound, typeText, []byte(unknownService(name, s.serviceNames())+"\n"))
		return
	}
	e := &Explanation{At: time.Now(), Service: service}
	if format == typeJSON {
		s.writeJSON(w, http.StatusOK, e)
		return
	}
	var text strings.Builder
	_ = WriteExplanation(&text, e) // a Builder takes everything
	s.write(w, http.StatusOK, typeText, []byte(text.String()))
}

func (s *Server) verdicts(w http.ResponseWriter, r *http.Request) {
	format, ok := s.negotiate(w, r, typeJSON, typeText)
	if !ok {
		return
	}
	v := &Verdicts{At: time.Now(), Services: []Verdict{}} // none is [], not null
	for _, service := range s.options.Status().Services {
		v.Services = append(v.Services, Verdict{service.Service, service.Verdict, usable(&service), service.Total})
	}
	if format == typeJSON {
		s.writeJSON(w, http.StatusOK, v)
		return
	}
	var text strings.Builder
	_ = WriteVerdicts(&text, v) // a Builder takes everything
	s.write(w, http.StatusOK, typeText, []byte(text.String()))
}

// usable is how many of the endpoints that the source reports requests may be sent to.
func usable(s *Service) int {
	if s.Fallback {
		return 0
	}
	return s.Usable
}

// service finds a service by its name.
func (s *Server) service(name string) (Service, bool) {
	if s.options.Service != nil {
		return s.options.Service(name)
	}
	all := s.options.Status().Services
	if i := slices.IndexFunc(all, func(c Service) bool { return c.Service == name }); i >= 0 {
		return all[i], true
	}
	return Service{}, false
}

func (s *Server) serviceNames() (names []string) {
	for _, service := range s.options.Status().Services {
		names = append(names, service.Service)
	}
	return names
}

// maxNames is how many services an error lists.
const maxNames = 20

// unknownService says that there is no service of this name, and which there are.
func unknownService(name string, names []string) string {
	text := fmt.Sprintf("there is no service %q", name)
	if near := nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	if len(names) == 0 {
		return text + " (there is none at all)"
	}
	names = slices.Sorted(slices.Values(names))
	more := ""
	if n := len(names) - maxNames; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
		names = names[:maxNames]
	}
	return text + " (those there are: " + printable(strings.Join(names, ", ")) + more + ")"
}
