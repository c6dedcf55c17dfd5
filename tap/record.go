package tap

import (
	"bytes"
	"strings"
	"time"

	"sidecar/accesslog"
)

// What a record shows at the most, in bytes.
const (
	mostTarget = 4096
	mostValue  = 1024
	mostFields = 100
)

// hidden is shown in place of a value that proves who somebody is.
const hidden = "<hidden>"

// A Record is one request that has passed. Its JSON form is an interface, in which fields are added
// and none is renamed.
type Record struct {
	Time     time.Time `json:"time"` // when its head was complete
	Service  string    `json:"service"`
	Client   string    `json:"client,omitempty"` // empty: by a unix socket
	Protocol string    `json:"protocol,omitempty"`
	Method   string    `json:"method,omitempty"` // empty: what came was no request
	Target   string    `json:"target,omitempty"`
	Host     string    `json:"host,omitempty"`
	Status   int       `json:"status"` // 0: it was not answered
	// Endpoint is the address of the last endpoint that it was tried on.
	Endpoint string    `json:"endpoint,omitempty"`
	Attempts []Attempt `json:"attempts,omitempty"`
	// Tries is how many there were; Attempts lists the first few and the last.
	Tries            int     `json:"tries"`
	TookSeconds      float64 `json:"took_seconds"`
	FirstByteSeconds float64 `json:"first_byte_seconds,omitempty"`
	BytesIn          int64   `json:"bytes_in"`
	BytesOut         int64   `json:"bytes_out"`
	Flag             string  `json:"flag"` // "ok", or why it did not end well
	Tunnel           bool    `json:"tunnel,omitempty"`
	GRPC             string  `json:"grpc,omitempty"`
	// RequestHeaders and ResponseHeaders are there when they were asked for.
	RequestHeaders  []Field `json:"request_headers,omitempty"`
	ResponseHeaders []Field `json:"response_headers,omitempty"`
	// Skipped is how many requests before this one would have been shown, but for the rate.
	Skipped uint64 `json:"skipped,omitempty"`
}

// An Attempt is one try on an endpoint.
type Attempt struct {
	Endpoint    string  `json:"endpoint"`
	Outcome     string  `json:"outcome"` // "ok", "status", or a cause
	Status      int     `json:"status,omitempty"`
	TookSeconds float64 `json:"took_seconds"`
}

// A Field is a header field.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// newRecord copies what is there, so that it outlives the request.
func newRecord(line *accesslog.Record, heads Heads, h Headers) *Record {
	r := &Record{
		Time: line.Time, Service: line.Service, Protocol: line.Protocol,
		Method: string(line.Method), Target: shortened(line.Target, mostTarget), Host: string(line.Host),
		Status: line.Status, Tries: line.Attempts.Count(),
		TookSeconds: line.Duration.Seconds(), FirstByteSeconds: line.FirstByte.Seconds(),
		BytesIn: line.BytesIn, BytesOut: line.BytesOut,
		Flag: line.Flag, Tunnel: line.Tunnel, GRPC: line.GRPC,
	}
	if r.Time.IsZero() {
		r.Time = time.Now().Add(-line.Duration)
	}
	if line.Client.IsValid() {
		r.Client = line.Client.String()
	}
	for _, a := range line.Attempts.List() {
		r.Attempts = append(r.Attempts, Attempt{a.Endpoint, a.Outcome, a.Status, a.Duration.Seconds()})
		r.Endpoint = a.Endpoint
	}
	if h != HeadersNone {
		r.RequestHeaders, r.ResponseHeaders = fields(heads.Request, h), fields(heads.Response, h)
	}
	return r
}

// fields takes a head apart.
func fields(head []byte, h Headers) (list []Field) {
	for line := range bytes.Lines(head) {
		name, value, ok := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{':'})
		if !ok {
			continue
		}
		if len(list) == mostFields {
			return append(list, Field{Name: "…", Value: "and more"})
		}
		f := Field{Name: string(name), Value: shortened(bytes.TrimSpace(value), mostValue)}
		if h != HeadersAll && secret(f.Name) {
			f.Value = hidden
		}
		list = append(list, f)
	}
	return list
}

// secret tells whether a field proves who somebody is.
func secret(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie":
		return true
	}
	return false
}

func shortened(text []byte, most int) string {
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// WithoutQuery leaves away what may be secret in the target: for who is shown no header fields either.
func (r *Record) WithoutQuery() {
	if path, _, has := strings.Cut(r.Target, "?"); has {
		r.Target = path + "?…"
	}
}
