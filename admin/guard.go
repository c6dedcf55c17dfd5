package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// guard refuses requests that a web page tricked a browser into sending. By DNS rebinding
// any site can make its own name point to 127.0.0.1, and its scripts may then read what
// answers there; but the browser still sends the site's name as Host. A request is
// answered when Host is an IP address, localhost, or the name in admin.listen.
//
// A unix socket is out of a browser's reach, and HTTP/1.0 probes send no Host at all.
func guard(listen string, next http.Handler) http.Handler {
	if strings.HasPrefix(listen, "unix:") {
		return next
	}
	own, _, _ := net.SplitHostPort(listen) // Start reports a bad address
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !trusted(r.Host, own) {
			http.Error(w, "this host name is not trusted: use an IP address, localhost, or the name in admin.listen", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
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
