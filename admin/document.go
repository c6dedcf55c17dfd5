package admin

import (
	"time"

	"sidecar/discovery"
	"sidecar/registration"
	"sidecar/upstream"
)

// A Document is everything about a running sidecar at one moment, as /status tells it. It is
// a plain value; its JSON form is an interface, in which fields are added and none is renamed.
type Document struct {
	Build     Build      `json:"build"`
	At        time.Time  `json:"at"`      // when this was written; ages are counted from here
	Started   time.Time  `json:"started"` // when the process began
	PID       int        `json:"pid,omitempty"`
	Draining  bool       `json:"draining,omitempty"` // it accepts nothing any more and is about to leave
	Readiness Readiness  `json:"readiness"`
	Loops     []Loop     `json:"loops"`
	Listeners []Listener `json:"listeners"`
	Services  []Service  `json:"services"`
	// Registrations are the local services that are announced.
	Registrations []registration.Status `json:"registrations,omitempty"`
	// Problems are what is wrong, the worst first.
	Problems []Problem `json:"problems,omitempty"`
	// Warnings are what is wrong with the sidecar as a whole, and Notices what the operator should know of the sidecar as a whole, a sentence each.
	Warnings []string `json:"warnings,omitempty"`
	Notices  []string `json:"notices,omitempty"`
}

// A Loop is one event loop.
type Loop struct {
	Index       int    `json:"index"`
	Tasks       int64  `json:"tasks"`
	Connections int64  `json:"connections"` // sockets, of clients and of endpoints
	Turns       uint64 `json:"turns"`
	Panics      uint64 `json:"panics,omitempty"`
}

// A Listener is one local address that accepts a service's traffic.
type Listener struct {
	Address  string   `json:"address"`
	Service  string   `json:"service"`
	Protocol string   `json:"protocol"`      // http or tcp
	SNI      []string `json:"sni,omitempty"` // names that TLS clients ask for; none: all others
	Active   int64    `json:"active"`        // connections of clients that are open
	Accepted uint64   `json:"accepted"`
	Error    string   `json:"error,omitempty"` // why it does not accept
}

// A Service is what a listener's traffic goes to: what upstream knows of it, and what only
// its configuration says. In JSON the two are one object.
type Service struct {
	Policy     string `json:"policy"`      // of its balancer
	SourceKind string `json:"source_kind"` // consul, static, …; several with commas
	// Sources are what each of its sources has said, in the order of the configuration.
	Sources []discovery.Status `json:"sources,omitempty"`
	// TLS is what it has certificates for, on either side.
	TLS []TLS `json:"tls,omitempty"`
	upstream.Status
}

// TLS is one side of a service that speaks TLS.
type TLS struct {
	Side         string        `json:"side"` // listener, whose certificates clients are shown, or upstream, of endpoints
	Certificates []Certificate `json:"certificates,omitempty"`
	Reloads      uint64        `json:"reloads"`           // how often new files were taken into use
	Failures     uint64        `json:"failures"`          // … and how often they could not be
	Problem      string        `json:"problem,omitempty"` // why what is in the files now is not in use
}

// A Certificate is one that is in use.
type Certificate struct {
	File      string    `json:"file"`
	Names     []string  `json:"names,omitempty"`   // what it is for
	Subject   string    `json:"subject,omitempty"` // what its owner is called
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"` // when the first certificate of its chain expires
	// Due: it should have been renewed by now, since it expires within 30 days, or less than a third of
	// its life is left, or has expired.
	Due bool `json:"due,omitempty"`
}
