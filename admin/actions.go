package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"sidecar/upstream"
)

// actionHeader is in every request that changes something. A page of another site cannot send it:
// its browser would ask here first whether it may, and not be answered.
const actionHeader = "Sidecar-Action"

// ErrNoService is what Options.Endpoint returns where there is no such service.
var ErrNoService = errors.New("there is no service of this name")

// offerActions adds the pages that change something.
func (s *Server) offerActions(mux *http.ServeMux, page func(path, about string)) {
	offer := func(path, about string, h http.HandlerFunc) {
		mux.HandleFunc("POST "+path, deliberate(h))
		page(path, about)
	}
	if s.options.Reload != nil {
		offer("/reload", "POST: loads the configuration again, and says what has changed", s.reload)
	}
	if s.options.Drain != nil {
		offer("/drain", "POST: drains as on SIGTERM, and ends", s.permitted(s.drain))
	}
	if s.options.Endpoint != nil {
		offer("/services/{service}/endpoints/{endpoint}/{action}", "POST: drain, undrain or uneject an endpoint", s.permitted(s.endpoint))
	}
}

// deliberate refuses what could be the work of another site. Its error is for people with curl.
func deliberate(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(actionHeader) != "1" {
			http.Error(w, "this changes something: send the header "+actionHeader+": 1", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

// permitted refuses actions by whoever reaches a port, unless they are switched on. Who may connect to a
// unix socket is decided by its permissions.
func (s *Server) permitted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.options.Actions && !peerOf(r, s.options.Listen).unix {
			s.log.Warn("an action is refused: admin.actions is off", zap.String("action", r.URL.Path), zap.String("by", peerOf(r, s.options.Listen).name))
			http.Error(w, "actions are off on this address: set admin.actions = true, or set admin.listen to a unix socket and ask there", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	// It takes what it takes, and goes on when who has asked for it goes away.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	by := peerOf(r, s.options.Listen).name
	report, err := s.options.Reload(context.WithoutCancel(r.Context()))
	if err != nil {
		s.log.Warn("reload was asked for and has failed", zap.String("by", by), zap.Error(err))
		s.writeJSON(w, http.StatusUnprocessableEntity, refusal{err.Error()})
		return
	}
	s.log.Info("reload was asked for", zap.String("by", by), zap.Int("changed", len(report.Changed)))
	report.Changed = append([]string{}, report.Changed...) // none is [], not null
	s.writeJSON(w, http.StatusOK, report)
}

// A refusal is the answer to what was asked for in vain.
type refusal struct {
	Error string `json:"error"`
}

func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	s.log.Warn("drain was asked for", zap.String("by", peerOf(r, s.options.Listen).name))
	s.write(w, http.StatusAccepted, typeText, []byte("draining\n"))
	s.options.Drain()
}

func (s *Server) endpoint(w http.ResponseWriter, r *http.Request) {
	service, id, action := r.PathValue("service"), r.PathValue("endpoint"), r.PathValue("action")
	switch action {
	case "drain", "undrain", "uneject":
	default:
		http.Error(w, "an endpoint can be asked to drain, undrain or uneject", http.StatusNotFound)
		return
	}
	err := s.options.Endpoint(service, id, action)
	by := peerOf(r, s.options.Listen).name
	fields := []zap.Field{zap.String("service", service), zap.String("endpoint", id), zap.String("action", action), zap.String("by", by)}
	switch {
	case errors.Is(err, upstream.ErrNoEndpoint), errors.Is(err, ErrNoService):
		s.write(w, http.StatusNotFound, typeText, []byte(err.Error()+"\n"))
		return
	case err != nil:
		s.log.Warn("an action of the operator has failed", append(fields, zap.Error(err))...)
		s.write(w, http.StatusInternalServerError, typeText, []byte(err.Error()+"\n"))
		return
	}
	s.log.Warn("the operator acts on an endpoint", fields...)
	w.WriteHeader(http.StatusNoContent)
}
