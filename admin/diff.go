package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// maxConfig is how long a configuration may be that is compared.
const maxConfig = 1 << 20

// A ConfigValue is one value of the configuration, and where it comes from.
type ConfigValue struct {
	// Key is its path, with the service or announcement in front: "service orders: timeout.request".
	Key string `json:"key"`
	// Value is as in TOML, secrets hidden.
	Value string `json:"value"`
	// Origin is "default", "config.toml:12", "config.toml:5 [defaults]", "env SIDECAR_LOG_LEVEL" or
	// "derived", which is from other keys.
	Origin string `json:"origin"`
}

// offerQuestions adds the pages that the command line asks for.
func (s *Server) offerQuestions(mux *http.ServeMux, page func(path, about string)) {
	if s.options.Diff != nil {
		mux.HandleFunc("POST /diff", deliberate(s.inTurn(s.diff)))
		page("/diff", "POST: a configuration as TOML; says what a reload to it would change")
	}
	if s.options.Tap != nil {
		const path = "/tap/{service}"
		mux.HandleFunc("GET "+path, s.tap)
		page(path, "requests as they pass; ?rate=10&n=100&status=5xx&endpoint=ADDRESS&headers=1")
	}
}

// diff says what a reload to the configuration in the body would change.
func (s *Server) diff(w http.ResponseWriter, r *http.Request) {
	toml, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxConfig))
	if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
		s.writeJSON(w, http.StatusUnprocessableEntity, refusal{fmt.Sprintf("a configuration of more than %d MiB is not read", maxConfig>>20)})
		return
	}
	if err != nil {
		return // who has asked is gone
	}
	report, err := s.options.Diff(toml)
	if err != nil {
		s.writeJSON(w, http.StatusUnprocessableEntity, refusal{err.Error()})
		return
	}
	report.Changed = append([]string{}, report.Changed...) // none is [], not null
	if !s.options.Actions && !peerOf(r, s.options.Listen).unix {
		report.Changed = withoutSecrets(report.Changed)
	}
	s.writeJSON(w, http.StatusOK, report)
}

// withoutSecrets leaves away whether secrets differ: else whoever reaches the port could try what they are.
func withoutSecrets(changed []string) []string {
	rest := slices.DeleteFunc(changed, func(line string) bool { return strings.HasSuffix(line, ": changed (hidden)") })
	return append(rest, "secrets are not compared on this address: see admin.actions")
}

// origins tells each value of the configuration and where it comes from.
func (s *Server) origins(w http.ResponseWriter) {
	s.writeJSON(w, http.StatusOK, append([]ConfigValue{}, s.options.Origins()...))
}

// Origins asks for each value of the effective configuration, and where it comes from.
func (c *Client) Origins(ctx context.Context) ([]ConfigValue, error) {
	var values []ConfigValue
	return values, c.document(ctx, "/config?origins=1", &values, http.StatusOK)
}

// Diff asks what a reload to a configuration would change. That it cannot be loaded is an error of
// several lines. The environment is that of the running sidecar.
func (c *Client) Diff(ctx context.Context, toml []byte) (Report, error) {
	var r Report
	body, err := c.post(ctx, "/diff", toml, reloadTimeout, http.StatusOK)
	if err != nil {
		return r, err
	}
	return r, c.decode("/diff", body, &r)
}
