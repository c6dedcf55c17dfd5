package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sidecar/tap"
)

// tapTimeout is how long a client may take to read one record.
const tapTimeout = 10 * time.Second

// typeLines is JSON, a document on each line.
const typeLines = "application/x-ndjson"

// tap streams requests of a service as they pass, a JSON document on each line. Whoever may only look
// sees no header fields and no queries: who reaches a port may not see the secrets of its users.
func (s *Server) tap(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("service")
	trusted := s.options.Actions || peerOf(r, s.options.Listen).unix
	options, most, err := tapOptions(r.URL.Query())
	if err != nil {
		s.write(w, http.StatusBadRequest, typeText, []byte(err.Error()+"\n"))
		return
	}
	if options.Headers != tap.HeadersNone && !trusted {
		http.Error(w, "header fields are not shown on this address: set admin.actions = true, or set admin.listen to a unix socket and ask there", http.StatusForbidden)
		return
	}
	point, err := s.options.Tap(name)
	switch {
	case errors.Is(err, ErrNoService):
		s.write(w, http.StatusNotFound, typeText, []byte(unknownService(name, s.serviceNames())+"\n"))
		return
	case err != nil:
		s.write(w, http.StatusConflict, typeText, []byte(err.Error()+"\n"))
		return
	}
	w.Header().Set("Content-Type", typeLines)
	if r.Method == http.MethodHead {
		return
	}
	watch, err := point.Watch(options)
	if err != nil {
		w.Header().Set("Retry-After", "10")
		s.write(w, http.StatusServiceUnavailable, typeText, []byte(err.Error()+"\n"))
		return
	}
	defer watch.Close()
	s.stream(w, r, watch, most, trusted)
}

// stream writes records until the client leaves, the sidecar or the service ends, or there were most.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, watch *tap.Watch, most int, trusted bool) {
	control := http.NewResponseController(w)
	// As in events: the deadline of the request would end the answer. That w has none, or no
	// Flush, is so in tests only.
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Now().Add(tapTimeout))
	w.WriteHeader(http.StatusOK)
	if control.Flush() != nil { // so that the client knows that it watches
		return
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for n := 0; most == 0 || n < most; n++ {
		select {
		case <-r.Context().Done():
			return
		case <-s.broadcast.quit:
			return
		case <-watch.Done():
			return
		case record := <-watch.Records():
			if !trusted {
				record.WithoutQuery()
			}
			_ = control.SetWriteDeadline(time.Now().Add(tapTimeout))
			if encoder.Encode(record) != nil || control.Flush() != nil {
				return
			}
		}
	}
}

// tapOptions reads what is asked for; most is how many records, 0 for no end.
func tapOptions(query url.Values) (o tap.Options, most int, err error) {
	number := func(key string, low, high int) (n int) {
		text := query.Get(key)
		if text == "" || err != nil {
			return 0
		}
		n, bad := strconv.Atoi(text)
		if bad != nil || n < low || n > high {
			err = fmt.Errorf("%s is a number from %d to %d, and not %q", key, low, high, text)
		}
		return n
	}
	const mostRecords = 1_000_000
	o.Rate = number("rate", 1, tap.MostRate)
	most = number("n", 0, mostRecords)
	if err != nil {
		return o, 0, err
	}
	switch text := query.Get("headers"); text {
	case "", "0":
	case "1":
		o.Headers = tap.HeadersPlain
	case "all":
		o.Headers = tap.HeadersAll
	default:
		return o, 0, fmt.Errorf("headers is 1 or all, and not %q", text)
	}
	o.Endpoint = query.Get("endpoint")
	o.Status, err = tap.ParseStatus(query.Get("status"))
	return o, most, err
}
