package config

// The words that keys may be.
const (
	ProtocolHTTP = "http"
	ProtocolTCP  = "tcp"

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

	RetryConnect = "connect"
	RetryReset   = "reset"
	RetryTimeout = "timeout"
)
