package h2

import (
	"errors"
	"strconv"
)

// ErrUnprocessed is in the chain of errors of streams of which the peer has certainly done
// nothing: it has refused them, gone away before them, or never been told of them. What was
// asked on such a stream may be asked again, whatever it was (RFC 9113 §8.7).
var ErrUnprocessed = errors.New("h2: the stream was not processed")

// ErrFull is in the chain, besides ErrUnprocessed, when a connection carries as many streams as
// its server allows.
var ErrFull = errors.New("h2: no stream is free")

var (
	errSilent = errors.New("h2: no answer to a ping")
	errStall  = errors.New("h2: the peer does not read")
	errClosed = errors.New("h2: connection closed")
	errAway   = errors.New("h2: the peer is going away")
)

// A Code is why a stream or a connection was ended (RFC 9113 §7).
type Code uint32

// The codes that have a name.
const (
	NoError Code = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

// String returns the code's name as the RFC has it, or its number.
func (c Code) String() string {
	names := [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
		"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
		"ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}
	if int(c) < len(names) {
		return names[c]
	}
	return "code " + strconv.FormatUint(uint64(c), 10)
}

// An Error is the end of a stream or of a whole connection by a code of HTTP/2.
type Error struct {
	Code   Code
	Stream bool   // of one stream, by RST_STREAM; otherwise of the connection, by GOAWAY
	Remote bool   // the peer has ended it; otherwise we have, because of what the peer did
	Reason string // may be empty

	unprocessed bool
}

func (e *Error) Error() string {
	what, who := "connection", "ended"
	if e.Stream {
		what = "stream"
	}
	if e.Remote {
		who = "ended by the peer"
	}
	s := "h2: " + what + " " + who + ": " + e.Code.String()
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Is makes errors.Is find ErrUnprocessed.
func (e *Error) Is(target error) bool { return target == ErrUnprocessed && e.unprocessed }

// broken is an error of the connection that we tell the peer.
func broken(code Code, reason string) *Error { return &Error{Code: code, Reason: reason} }
