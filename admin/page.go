package admin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"os"
	"strings"

	"go.uber.org/zap"
)

// files are what the page is made of. It is sent as one: nothing else is asked for but /events.
//
//go:embed page
var files embed.FS

// scripts are the parts of the page's script, in their order.
var scripts = [...]string{"text.js", "state.js", "dom.js", "service.js", "endpoint.js", "page.js", "keys.js", "actions.js", "stream.js"}

// A page is the interface for people with a browser: plain tables, which a script replaces by what
// it hears on /events.
type page struct {
	template *template.Template
	policy   string // Content-Security-Policy
	style    template.CSS
	script   template.JS
	host     string
}

func newPage() *page {
	var script strings.Builder
	script.WriteString("\"use strict\";(() => {\n")
	for _, name := range scripts {
		script.WriteString(asset(name))
	}
	script.WriteString("})();")
	p := &page{
		template: template.Must(template.New("page").Parse(asset("page.html"))),
		style:    template.CSS(asset("page.css")),
		script:   template.JS(script.String()),
	}
	p.host, _ = os.Hostname() // without one the page says where it was asked for
	// Nothing runs but what is ours to the letter, nothing is loaded from or sent to anywhere else, and
	// no other page has this one in a frame. What the script writes into the page is text.
	p.policy = "default-src 'none'; script-src '" + digest(string(p.script)) + "'; style-src '" + digest(string(p.style)) +
		"'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	return p
}

// asset is a file of the page. That it is there was seen to when this was built.
func asset(name string) string {
	body, err := files.ReadFile("page/" + name)
	if err != nil {
		panic(err) //nolint:forbidigo // only a programmer's mistake leads here
	}
	return string(body)
}

// digest is how a policy names an inline script.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// show sends the page, with how things stand now: ?all=SERVICE for all endpoints of a service.
func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	d := s.document()
	var body bytes.Buffer
	if err := s.page.template.Execute(&body, s.page.view(&d, r.URL.Query().Get("all"), s.options.Actions && s.options.Endpoint != nil)); err != nil {
		s.log.Error("admin: the page cannot be shown", zap.Error(err))
		http.Error(w, "the page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", s.page.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept")
	s.write(w, http.StatusOK, typeHTML, body.Bytes())
}
