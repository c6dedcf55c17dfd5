package h1

// Kind says which of the fields the proxy has to know a field is.
type Kind uint8

// The kinds.
const (
	KindOther Kind = iota
	KindHost
	KindConnection
	KindContentLength
	KindTransferEncoding
	KindExpect
	KindUpgrade
	KindTE
	KindTrailer
	KindKeepAlive
	KindProxyConnection
	KindHTTP2Settings
	KindMaxForwards
	KindVia
	KindForwarded
	KindXForwardedFor
	KindXForwardedProto
	KindXForwardedHost
	KindXForwardedPort
	KindXRealIP
	KindXRequestID
	KindTraceparent
	KindTracestate
	KindIdempotencyKey // Idempotency-Key or X-Idempotency-Key
	KindProxyAuthenticate
	KindProxyAuthorization
	KindAuthorization
	KindContentType
	KindContentEncoding
	KindContentRange
	KindDate
	KindServer
	KindRetryAfter
	KindSetCookie
	KindCookie
	kinds
)

// KindSet is a set of kinds. KindOther can be a member like any other.
type KindSet uint64

// Kinds returns the set of the given kinds.
func Kinds(ks ...Kind) (s KindSet) {
	for _, k := range ks {
		s |= k.bit()
	}
	return s
}

// Has reports whether k is in the set.
func (s KindSet) Has(k Kind) bool { return s&k.bit() != 0 }

// bit returns the set of k alone. The mask tells the compiler that the shift
// is a short one.
func (k Kind) bit() KindSet { return 1 << (k & 63) }

const (
	// hopKinds never pass, named by Connection or not (RFC 9110 §7.6.1, RFC
	// 7540 §3.2.1). Proxy-Authorization and Proxy-Authenticate do: they are
	// for the proxy that asks for credentials, and this one does not (RFC
	// 9110 §11.7.2).
	hopKinds KindSet = 1<<KindConnection | 1<<KindKeepAlive | 1<<KindProxyConnection |
		1<<KindTE | 1<<KindTransferEncoding | 1<<KindUpgrade | 1<<KindHTTP2Settings

	// essential kinds pass even if Connection names them: a sender must not
	// (RFC 9110 §7.6.1), and the message would become another without them, or
	// wait for a 100 that nobody is asked for.
	essential KindSet = 1<<KindHost | 1<<KindContentLength | 1<<KindExpect

	// untrailable kinds must not be taken from a trailer section: framing,
	// routing, request modifiers, authentication and content format (RFC 9110
	// §6.5.1), and what the proxy itself vouches for.
	untrailable = hopKinds | 1<<KindHost | 1<<KindContentLength | 1<<KindExpect | 1<<KindTrailer |
		1<<KindMaxForwards | 1<<KindVia | 1<<KindForwarded | 1<<KindXForwardedFor | 1<<KindXForwardedProto |
		1<<KindXForwardedHost | 1<<KindXForwardedPort | 1<<KindXRealIP | 1<<KindXRequestID | 1<<KindTraceparent | 1<<KindTracestate |
		1<<KindIdempotencyKey | 1<<KindProxyAuthenticate | 1<<KindProxyAuthorization | 1<<KindAuthorization |
		1<<KindContentType | 1<<KindContentEncoding | 1<<KindContentRange | 1<<KindDate | 1<<KindRetryAfter |
		1<<KindSetCookie | 1<<KindCookie
)

// known lists the names, all lower-case.
var known = [...]struct {
	name string
	kind Kind
}{
	{"host", KindHost},
	{"connection", KindConnection},
	{"content-length", KindContentLength},
	{"transfer-encoding", KindTransferEncoding},
	{"expect", KindExpect},
	{"upgrade", KindUpgrade},
	{"te", KindTE},
	{"trailer", KindTrailer},
	{"keep-alive", KindKeepAlive},
	{"proxy-connection", KindProxyConnection},
	{"http2-settings", KindHTTP2Settings},
	{"max-forwards", KindMaxForwards},
	{"via", KindVia},
	{"forwarded", KindForwarded},
	{"x-forwarded-for", KindXForwardedFor},
	{"x-forwarded-proto", KindXForwardedProto},
	{"x-forwarded-host", KindXForwardedHost},
	{"x-forwarded-port", KindXForwardedPort},
	{"x-real-ip", KindXRealIP},
	{"x-request-id", KindXRequestID},
	{"traceparent", KindTraceparent},
	{"tracestate", KindTracestate},
	{"idempotency-key", KindIdempotencyKey},
	{"x-idempotency-key", KindIdempotencyKey},
	{"proxy-authenticate", KindProxyAuthenticate},
	{"proxy-authorization", KindProxyAuthorization},
	{"authorization", KindAuthorization},
	{"content-type", KindContentType},
	{"content-encoding", KindContentEncoding},
	{"content-range", KindContentRange},
	{"date", KindDate},
	{"server", KindServer},
	{"retry-after", KindRetryAfter},
	{"set-cookie", KindSetCookie},
	{"cookie", KindCookie},
}

// kindTable finds a name by one probe: no two known names share a slot.
var kindTable = newKindTable()

type kindSlot struct {
	name string
	kind Kind
}

func newKindTable() (t [256]kindSlot) {
	for _, k := range known {
		s := &t[kindHash([]byte(k.name))]
		if s.name != "" {
			panic("h1: " + k.name + " and " + s.name + " share a slot") //nolint:forbidigo // only a programmer's mistake leads here
		}
		*s = kindSlot{k.name, k.kind}
	}
	return t
}

// kindHash takes its bits from the length, at least 2, and three letters, in
// whatever case.
func kindHash(name []byte) uint8 {
	n := len(name)
	return uint8(n) + (name[0] | 0x20) + (name[n-1]|0x20)*3 + (name[n-2]|0x20)*11
}

// KindOf returns the kind of the field with that name, a token in whatever
// case.
func KindOf(name []byte) Kind {
	if len(name) < 2 {
		return KindOther
	}
	s := &kindTable[kindHash(name)]
	if !equalFold(name, s.name) {
		return KindOther
	}
	return s.kind
}
