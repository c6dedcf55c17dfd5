package h1

// Error is the reason a message was refused. All values are package variables
// or derived from them at start, so that errors compare by ==.
type Error struct {
	Status int    // what to answer the client: 4xx or 5xx
	Cause  string // short and stable, fit for a header field or a metric's label
	Text   string // one sentence for a person
}

func (e *Error) Error() string { return e.Cause + ": " + e.Text }

// fault is one mistake as seen in a request and in a response: the client's
// mistakes are answered by 4xx, an instance's by 502.
type fault struct{ request, response *Error }

func newFault(status int, cause, text string) *fault {
	return &fault{
		request:  &Error{Status: status, Cause: cause, Text: text},
		response: &Error{Status: 502, Cause: cause, Text: text},
	}
}

// Faults of the start line.
var (
	faultLineBreak   = newFault(400, "bad-line-end", "a line does not end in CRLF")
	faultBlank       = newFault(400, "blank-lines", "too many empty lines before the request line")
	faultMethod      = newFault(400, "bad-method", "the method is not a token")
	faultMethodLong  = newFault(501, "method-too-long", "the method is longer than any known one")
	faultTarget      = newFault(400, "bad-target", "the request target is not valid")
	faultTargetLong  = newFault(414, "target-too-long", "the request target is too long")
	faultVersion     = newFault(400, "bad-version", "the protocol version is malformed")
	faultMajor       = newFault(505, "version-not-supported", "only HTTP/1.0 and HTTP/1.1 are spoken here")
	faultPreface     = newFault(505, "http2-preface", "HTTP/2 is not spoken on this connection")
	faultAsterisk    = newFault(400, "bad-target", "the asterisk form is for OPTIONS only")
	faultAuthority   = newFault(400, "bad-target", "CONNECT needs host:port as its target")
	faultScheme      = newFault(400, "bad-scheme", "the target's scheme is neither http nor https")
	faultStatus      = newFault(502, "bad-status-line", "the status line is malformed")
	faultExpectation = newFault(417, "unknown-expectation", "the only known expectation is 100-continue")
)

// Faults of the fields.
var (
	faultHeadLarge   = newFault(431, "head-too-large", "the head is too large")
	faultFieldCount  = newFault(431, "too-many-fields", "the head has too many fields")
	faultFieldName   = newFault(400, "bad-field-name", "a field name is not a token followed by a colon")
	faultFieldValue  = newFault(400, "bad-field-value", "a field value contains a control character")
	faultFold        = newFault(400, "folded-field", "a field is folded over several lines")
	faultHostMissing = newFault(400, "missing-host", "the Host field is missing")
	faultHostTwice   = newFault(400, "duplicate-host", "there is more than one Host field")
	faultHost        = newFault(400, "bad-host", "the Host field or the target's authority is not a valid host")
	faultOptions     = newFault(400, "too-many-options", "the Connection field names too many options")
)

// Faults of the framing.
var (
	faultLength         = newFault(400, "bad-content-length", "Content-Length is not one decimal number below 2^63")
	faultLengthDiffer   = newFault(400, "conflicting-content-length", "Content-Length is given twice, differently")
	faultLengthChunked  = newFault(400, "length-and-chunked", "Content-Length and Transfer-Encoding exclude each other")
	faultCoding         = newFault(400, "bad-transfer-encoding", "Transfer-Encoding does not end in one chunked coding")
	faultCodingUnknown  = newFault(501, "unknown-transfer-coding", "the only transfer coding known is chunked")
	faultCodingOld      = newFault(400, "transfer-encoding-in-1.0", "HTTP/1.0 knows no Transfer-Encoding")
	faultChunkSize      = newFault(400, "bad-chunk-size", "a chunk size is not a hexadecimal number")
	faultChunkHuge      = newFault(400, "chunk-too-large", "a chunk size is too large or has too many digits")
	faultChunkExtension = newFault(400, "bad-chunk-extension", "a chunk extension is malformed")
	faultChunkOverhead  = newFault(400, "chunk-overhead", "there is too much chunk framing for too little data")
	faultChunkEnd       = newFault(400, "bad-chunk-end", "chunk data is not followed by CRLF")
	faultTrailer        = newFault(400, "bad-trailer", "a trailer field is malformed")
	faultTrailerLarge   = newFault(431, "trailer-too-large", "the trailer section is too large")
	faultTruncated      = newFault(400, "truncated-body", "the connection ended before the message did")
)

// ErrHTTP2Preface is what Request.Parse returns for the first line of an
// HTTP/2 connection preface (RFC 9113 §3.4); the buffer still has it whole.
var ErrHTTP2Preface = faultPreface.request
