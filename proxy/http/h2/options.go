package h2

import (
	"sync/atomic"
	"time"
)

// Options are for both roles. The zero value is useful; zero means the default everywhere.
type Options struct {
	// MaxStreams is how many streams may be open at once on a connection: as a server what we
	// tell clients and refuse beyond, as a client our own bound below what the server allows.
	// Default 256.
	MaxStreams uint32
	// HeaderList bounds a header list as RFC 9113 §6.5.2 counts it, in octets; a request with
	// more is answered with 431. Default 64 KiB.
	HeaderList int
	// Window and ConnWindow are how many octets of bodies may wait to be read: of one stream,
	// and of all of a connection. At most 2^31-1. Defaults 256 KiB and 1 MiB; ConnWindow is at
	// least 64 KiB, with which every connection begins.
	Window, ConnWindow int
	// Ping is after how long without anything from the peer it is asked for a sign of life,
	// while there are streams. Without one within five seconds the connection is broken. As long
	// as nothing but the answer comes it is asked again after five minutes only, since servers
	// of gRPC do not stand more. Default 15 s.
	Ping time.Duration
	// Idle is how long a connection without streams is kept. Default: for ever.
	Idle time.Duration
	// Stall is how long a peer may take nothing of what is ready to be sent to it. Default 30 s.
	Stall time.Duration
	// Scheme is what a client says in :scheme. Default http.
	Scheme string
	// Counters is where events are counted: one for both roles, or for each loop and role its own.
	// May be nil.
	Counters *Counters
}

func (o *Options) filled() Options {
	f := Options{}
	if o != nil {
		f = *o
	}
	if f.MaxStreams == 0 {
		f.MaxStreams = 256
	}
	if f.HeaderList <= 0 {
		f.HeaderList = 64 << 10
	}
	if f.Window <= 0 {
		f.Window = 256 << 10
	}
	if f.ConnWindow <= 0 {
		f.ConnWindow = 1 << 20
	}
	f.Window = min(f.Window, maxWindow)
	f.ConnWindow = min(max(f.ConnWindow, firstWindow), maxWindow)
	if f.Ping <= 0 {
		f.Ping = 15 * time.Second
	}
	if f.Stall <= 0 {
		f.Stall = 30 * time.Second
	}
	if f.Scheme == "" {
		f.Scheme = "http"
	}
	if f.Counters == nil {
		f.Counters = new(Counters)
	}
	return f
}

// Counters are what has happened on connections of HTTP/2. They only grow, and may be read at
// any time. Those of metrics have the same fields, so that a pointer can be converted.
type Counters struct {
	Connections atomic.Uint64 // begun
	Streams     atomic.Uint64 // opened
	Refused     atomic.Uint64 // a client's beyond our limit, or ours that a server has refused
	ResetsIn    atomic.Uint64 // streams that the peer has reset, those that it has refused included
	ResetsOut   atomic.Uint64 // … that we have, likewise
	GoawaysIn   atomic.Uint64
	GoawaysOut  atomic.Uint64
	PingsLost   atomic.Uint64 // connections given up because a ping was not answered
	Floods      [FloodKinds]atomic.Uint64
}

// A Flood is a kind of abuse for which a connection was ended, with ENHANCE_YOUR_CALM as far
// as the peer could still be told.
type Flood uint8

// The kinds of abuse.
const (
	// FloodResets is streams that are opened only to be reset, by the client itself
	// (CVE-2023-44487) or by us because of what it has sent on them (CVE-2025-8671).
	FloodResets Flood = iota
	// FloodSettings to FloodWindows are frames in excess of what moves anything.
	FloodSettings
	FloodPings
	FloodPriorities
	FloodEmpty // DATA without data, and frames of no known kind
	FloodWindows
	// FloodHeaders is a header block of too many octets or CONTINUATIONs.
	FloodHeaders
	// FloodBacklog is a peer that makes us answer and does not read the answers.
	FloodBacklog
	// FloodStall is a peer that has taken nothing for the time Options.Stall: nothing at all of
	// what was ready, or as a client, no data of half as many streams as it may open.
	FloodStall
	// FloodKinds is how many there are.
	FloodKinds
)

// String returns the kind as one word, for metrics.
func (f Flood) String() string {
	names := [FloodKinds]string{"resets", "settings", "pings", "priorities", "empty", "windows", "headers", "backlog", "stall"}
	if f < FloodKinds {
		return names[f]
	}
	return "unknown"
}
