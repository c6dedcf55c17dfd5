package admin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// guard refuses requests that a web page tricked a browser into sending. By DNS rebinding
// any site can make its own name point to 127.0.0.1, and its scripts may then read what
// answers there; but the browser still sends the site's name as Host. A request is
// answered when Host is an IP address, localhost, or the name in admin.listen. HTTP/1.0 probes send
// no Host at all.
//
// A page of another site may also ask under one of these names. It cannot read the answers, but
// could change something, or have a profile made; its browser says so (see foreign).
//
// A unix socket is out of a browser's reach, unless its user has ssh forward a port to it; other
// clients may call it what they like.
func guard(listen string, next http.Handler) http.Handler {
	own := ""
	if !strings.HasPrefix(listen, "unix:") {
		own, _, _ = net.SplitHostPort(listen) // Start reports a bad address
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		free := peerOf(r, listen).unix && !byBrowser(r)
		if !free && !trusted(r.Host, own) {
			http.Error(w, "this host name is not trusted: use an IP address, localhost, or the name in admin.listen", http.StatusForbidden)
			return
		}
		if foreign(r) {
			http.Error(w, "this was asked for by a page of another site", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// byBrowser tells whether a browser sends a request: all of them have called themselves so for ever.
func byBrowser(r *http.Request) bool {
	return strings.HasPrefix(r.UserAgent(), "Mozilla/") || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != ""
}

// foreign tells whether a browser sends a request for a page of another site. Origin is in whatever
// changes something, Sec-Fetch-Site in all that goes to a loopback address; a link from elsewhere may
// be followed.
func foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !strings.EqualFold(u.Host, r.Host) {
			return true // also "null", which is whoever hides
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	link := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !link
}

// trusted tells whether a Host header names us in a way that no DNS server had a say in.
func trusted(header, own string) bool {
	if header == "" {
		return true
	}
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") || own != "" && strings.EqualFold(host, own) {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// bounded gives an answer a time by which it must have been written, so that a client that
// does not read holds nothing for long; and says on each answer whose it is.
func bounded(version string, next http.Handler) http.Handler {
	server := product + "/" + version
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", server)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if !strings.HasPrefix(r.URL.Path, profiles) {
			// The only error is that w cannot have a deadline: it is not a connection, then.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
		}
		next.ServeHTTP(w, r)
	})
}
