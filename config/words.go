package config

// The words that keys may be.
const (
	ProtocolHTTP = "http"
	ProtocolTCP  = "tcp"

	UpstreamAuto  = "auto" // gRPC by HTTP/2, everything else by HTTP/1.1
	UpstreamHTTP1 = "http1"
	UpstreamH2C   = "h2c" // HTTP/2 with prior knowledge; h2 where there is TLS

	SendProxyOff = "off"
	SendProxyV1  = "v1"
	SendProxyV2  = "v2"

	ClientAuthOff      = "off"
	ClientAuthOptional = "optional"
	ClientAuthRequired = "required"

	TLS12 = "1.2"
	TLS13 = "1.3"

	OnDownKeep  = "keep"
	OnDownClose = "close"

	SourceConsul     = "consul"
	SourceStatic     = "static"
	SourceDNS        = "dns"
	SourceFile       = "file"
	SourceEtcd       = "etcd"
	SourceRedis      = "redis"
	SourceNacos      = "nacos"
	SourceKubernetes = "kubernetes"

	CombinePrefer = "prefer" // the first source that has instances
	CombineMerge  = "merge"  // those of all sources together

	DNSTypeA   = "a"
	DNSTypeSRV = "srv"

	NacosAuto = "auto"
	NacosV1   = "v1"
	NacosV2   = "v2"
	NacosV3   = "v3"

	RegistryConsul = "consul"
	RegistryEtcd   = "etcd"

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

	RetryConnect       = "connect"
	RetryReset         = "reset"
	RetryRefusedStream = "refused-stream"
	RetryTimeout       = "timeout"

	// What gRPC calls the end of a call (its status codes).
	RetryCancelled         = "cancelled"
	RetryDeadlineExceeded  = "deadline-exceeded"
	RetryInternal          = "internal"
	RetryResourceExhausted = "resource-exhausted"
	RetryUnavailable       = "unavailable"
)
