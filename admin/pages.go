package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// product begins the Server header, by which a Client knows that a sidecar answers.
	product  = "sidecar"
	profiles = "/debug/pprof/"

	typeJSON = "application/json"
	typeText = "text/plain"
	typeHTML = "text/html"
)

// A Build says which build a sidecar is.
type Build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Missing []string `json:"missing,omitempty"` // a line each, none when ready
}

func (s *Server) build() Build {
	return Build{Version: s.options.Version, Revision: s.options.Revision, Go: runtime.Version()}
}

func (s *Server) readiness() Readiness {
	if s.options.Ready == nil {
		return Readiness{Ready: true}
	}
	missing := s.options.Ready()
	return Readiness{Ready: len(missing) == 0, Missing: missing}
}

// handler is all pages behind the guards. A pattern with GET also takes HEAD, and makes the
// mux answer 405 with Allow to all else.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	var index []string
	list := func(path, about string) {
		path = strings.NewReplacer("{service}", "SERVICE", "{endpoint}", "ID", "{action}", "ACTION").Replace(path)
		index = append(index, fmt.Sprintf("%-16s  %s\n", path, about))
	}
	page := func(path, about string, h http.HandlerFunc) {
		mux.HandleFunc("GET "+path, h)
		list(path, about)
	}
	page("/healthz", "200 while the process works", s.healthz)
	page("/readyz", "200 once every service can be served, else what is missing", s.readyz)
	if s.options.Metrics != nil {
		page("/metrics", "Prometheus", s.options.Metrics.ServeHTTP) // which has a bound of its own
	}
	if s.options.Status != nil {
		page("/status", "everything at a glance; ?format=text for a table", s.inTurn(s.status))
		page("/events", "the status once a second, as server-sent events", s.events)
		page("/explain", "how each service stands", s.inTurn(s.verdicts))
		page("/explain/{service}", "one service and its endpoints: what, why and until when; ?format=text for a table", s.inTurn(s.explain))
	}
	if s.options.Config != nil {
		page("/config", "the effective configuration, with secrets hidden", s.inTurn(s.config))
	}
	page("/version", "which build this is", s.version)
	if s.options.Profiling {
		page(profiles, "profiles of the process", pprof.Index)
		mux.HandleFunc("GET "+profiles+"cmdline", pprof.Cmdline)
		mux.HandleFunc("GET "+profiles+"profile", pprof.Profile)
		mux.HandleFunc("GET "+profiles+"symbol", pprof.Symbol)
		mux.HandleFunc("GET "+profiles+"trace", pprof.Trace)
	}
	s.offerActions(mux, list)
	s.offerQuestions(mux, list)
	text := []byte("sidecar " + s.options.Version + "\n\n" + strings.Join(index, ""))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if s.page != nil && preferred(r.Header.Values("Accept"), []string{typeText, typeHTML}) == typeHTML {
			s.inTurn(s.show)(w, r)
			return
		}
		s.write(w, http.StatusOK, typeText, text)
	})
	return bounded(s.options.Version, guard(s.options.Listen, mux))
}

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if s.options.Healthy != nil {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		if err := s.options.Healthy(ctx); err != nil {
			s.write(w, http.StatusServiceUnavailable, typeText, []byte(err.Error()+"\n"))
			return
		}
	}
	s.write(w, http.StatusOK, typeText, []byte("ok\n"))
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	format, ok := s.negotiate(w, r, typeText, typeJSON)
	if !ok {
		return
	}
	readiness := s.readiness()
	code := http.StatusOK
	if !readiness.Ready {
		code = http.StatusServiceUnavailable
	}
	if format == typeJSON {
		s.writeJSON(w, code, readiness)
		return
	}
	text := "ready\n"
	if !readiness.Ready {
		text = "not ready\n" + strings.Join(readiness.Missing, "\n") + "\n"
	}
	s.write(w, code, typeText, []byte(text))
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	format, ok := s.negotiate(w, r, typeJSON, typeText)
	if !ok {
		return
	}
	document := s.document()
	if format == typeJSON {
		s.writeJSON(w, http.StatusOK, document)
		return
	}
	var text strings.Builder
	_ = WriteText(&text, &document) // a Builder takes everything
	s.write(w, http.StatusOK, typeText, []byte(text.String()))
}

// document is everything at a glance, at this moment.
func (s *Server) document() Document {
	d := s.options.Status()
	d.Build = s.build()
	d.At = time.Now()
	if s.options.Ready != nil {
		d.Readiness = s.readiness()
	}
	d.Problems = findProblems(&d)
	// A list without members is [] in JSON, not null.
	d.Loops = append([]Loop{}, d.Loops...)
	d.Listeners = append([]Listener{}, d.Listeners...)
	d.Services = append([]Service{}, d.Services...)
	return d
}

func (s *Server) config(w http.ResponseWriter, r *http.Request) {
	if s.options.Origins != nil && r.URL.Query().Get("origins") != "" {
		s.origins(w)
		return
	}
	text, err := s.options.Config()
	if err != nil {
		s.write(w, http.StatusInternalServerError, typeText, []byte("the configuration cannot be shown: "+err.Error()+"\n"))
		return
	}
	s.write(w, http.StatusOK, typeText, text)
}

func (s *Server) version(w http.ResponseWriter, r *http.Request) {
	format, ok := s.negotiate(w, r, typeJSON, typeText)
	if !ok {
		return
	}
	b := s.build()
	if format == typeJSON {
		s.writeJSON(w, http.StatusOK, b)
		return
	}
	s.write(w, http.StatusOK, typeText, []byte(b.String()+"\n"))
}

// String is how the build is told to people.
func (b Build) String() string {
	if b.Revision == "" {
		return fmt.Sprintf("sidecar %s, %s", b.Version, b.Go)
	}
	return fmt.Sprintf("sidecar %s (%s), %s", b.Version, b.Revision, b.Go)
}

// negotiate chooses what to answer with: what ?format= says, or the type that Accept likes
// best, the first offer winning a draw. ok is false when it has answered itself.
func (s *Server) negotiate(w http.ResponseWriter, r *http.Request, offers ...string) (format string, ok bool) {
	switch asked := r.URL.Query().Get("format"); asked {
	case "json":
		return typeJSON, true
	case "text":
		return typeText, true
	case "":
		return preferred(r.Header.Values("Accept"), offers), true
	default:
		http.Error(w, "format is json or text", http.StatusBadRequest)
		return "", false
	}
}

// write sends an answer. A client that has gone does not want to know.
func (s *Server) write(w http.ResponseWriter, code int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType+"; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

func (s *Server) writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		s.log.Error("admin: an answer has no JSON form", zap.Error(err))
		http.Error(w, "this has no JSON form: "+err.Error(), http.StatusInternalServerError)
		return
	}
	s.write(w, code, typeJSON, append(body, '\n'))
}
