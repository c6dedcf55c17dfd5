package config

// The words that keys may be.
const (
	ProtocolHTTP = "http"
	ProtocolTCP  = "tcp"

	OnDownKeep  = "keep"
	OnDownClose = "close"

	SourceConsul = "consul"
	SourceStatic = "static"

	PolicyP2C        = "p2c"
	PolicyLeastConn  = "least_conn"
	PolicyRoundRobin = "round_robin"
	PolicyRandom     = "random"
	PolicyRingHash   = "ring_hash"

	HashClient = "client"
	HashPath   = "path"
	HashHeader = "header:" // what stands before the header's name
	HashCookie = "cookie:" // what stands before the cookie's name

	CheckNone = "none"
	CheckTCP  = "tcp"
	CheckHTTP = "http"
	CheckGRPC = "grpc"

	ForwardedAppend = "append"
	ForwardedSet    = "set"
	ForwardedOff    = "off"

	RetryConnect = "connect"
	RetryReset   = "reset"
	RetryTimeout = "timeout"
)

// Words of retry.on that a later version will take: a stream that the server has refused, and
// statuses of gRPC by name.
const (
	RetryRefusedStream     = "refused-stream"
	RetryUnavailable       = "unavailable"
	RetryResourceExhausted = "resource-exhausted"
	RetryDeadlineExceeded  = "deadline-exceeded"
	RetryInternal          = "internal"
	RetryAborted           = "aborted"
	RetryUnknown           = "unknown"
)
