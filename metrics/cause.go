package metrics

// A Cause is why the sidecar itself had to answer an HTTP request, or could not serve a TCP
// session. Its String is the value of the label cause, and of the header Sidecar-Error.
type Cause uint8

// The causes there are. A new one is added before causeCount, and to the names.
const (
	CauseOther           Cause = iota // none of the others: a mistake of ours to have no name for it
	CauseNotDiscovered                // the source has not answered yet
	CauseUnknownService               // the source does not know the service
	CauseNoInstances                  // the service is known and empty
	CauseNoneHealthy                  // every endpoint fails its health check
	CauseAllEjected                   // every endpoint's breaker is open
	CauseOverLimit                    // a limit of the configuration is reached: requests, connections, or those being made
	CauseShed                         // more is in flight than the limit that was learned from latencies
	CauseNoOtherEndpoint              // what is left was already tried
	CauseConnectFailed                // the endpoint refused, or could not be reached
	CauseConnectTimeout               // the endpoint did not accept in time
	CauseReset                        // the endpoint broke the connection before its answer was complete
	CauseIdleRace                     // the endpoint closed an idle connection as a request that must not be repeated was sent
	CauseTimeout                      // the endpoint did not answer in time
	CauseStalled                      // the endpoint has sent nothing to anyone for retry.stalled
	CauseBadResponse                  // what the endpoint answered is not HTTP
	CauseBadRequest                   // what the client sent is not HTTP, or not allowed
	CauseTooLarge                     // the client's header is larger than allowed
	CauseClientTimeout                // the client did not finish its request in time
	CauseClientGone                   // the client went away before the end
	CauseIdleTimeout                  // no byte moved either way for too long
	CauseEndpointDown                 // cut, because its endpoint was retired or marked down
	CauseDraining                     // cut, because the sidecar is about to leave
	CauseOverload                     // the sidecar is out of descriptors, ports or memory
	CauseInternal                     // a bug of the sidecar: its task panicked

	causeCount
)

func (c Cause) String() string {
	switch c {
	case CauseNotDiscovered:
		return "not-discovered"
	case CauseUnknownService:
		return "unknown-service"
	case CauseNoInstances:
		return "no-instances"
	case CauseNoneHealthy:
		return "none-healthy"
	case CauseAllEjected:
		return "all-ejected"
	case CauseOverLimit:
		return "over-limit"
	case CauseShed:
		return "shed"
	case CauseNoOtherEndpoint:
		return "no-other-endpoint"
	case CauseConnectFailed:
		return "connect-failed"
	case CauseConnectTimeout:
		return "connect-timeout"
	case CauseReset:
		return "reset"
	case CauseIdleRace:
		return "idle-race"
	case CauseTimeout:
		return "timeout"
	case CauseStalled:
		return "stalled"
	case CauseBadResponse:
		return "bad-response"
	case CauseBadRequest:
		return "bad-request"
	case CauseTooLarge:
		return "too-large"
	case CauseClientTimeout:
		return "client-timeout"
	case CauseClientGone:
		return "client-gone"
	case CauseIdleTimeout:
		return "idle-timeout"
	case CauseEndpointDown:
		return "endpoint-down"
	case CauseDraining:
		return "draining"
	case CauseOverload:
		return "overload"
	case CauseInternal:
		return "internal"
	}
	return "other"
}

// CauseOf finds the Cause of a short name, as upstream's errors carry one; CauseOther when
// there is none of that name. It allocates nothing, but compares up to causeCount strings:
// it is for failures, not for each request.
func CauseOf(name string) Cause {
	for c := range causeCount {
		if c.String() == name {
			return c
		}
	}
	return CauseOther
}

// A RetryReason is why a request was sent again.
type RetryReason uint8

// The reasons there are: the values of the key retry.on, and stalled, which is a key of its own.
const (
	RetryOther   RetryReason = iota // none of the others
	RetryConnect                    // the connection could not be made
	RetryReset                      // it broke before the first byte of an answer
	RetryTimeout                    // retry.per_try ran out
	RetryStalled                    // the endpoint has sent nothing to anyone for retry.stalled
	RetryRefused                    // the endpoint has said that it did not process it: HTTP/2's REFUSED_STREAM or GOAWAY
	RetryGRPC                       // gRPC's status was one of those that are tried again
	Retry502                        // the endpoint answered 502
	Retry503                        // … 503
	Retry504                        // … 504
	Retry5xx                        // … another status from 500 to 599

	retryCount
)

func (r RetryReason) String() string {
	switch r {
	case RetryConnect:
		return "connect"
	case RetryReset:
		return "reset"
	case RetryTimeout:
		return "timeout"
	case RetryStalled:
		return "stalled"
	case RetryRefused:
		return "refused-stream"
	case RetryGRPC:
		return "grpc-status"
	case Retry502:
		return "502"
	case Retry503:
		return "503"
	case Retry504:
		return "504"
	case Retry5xx:
		return "5xx"
	}
	return "other"
}

// RetryOn is the reason for a retry after an answer of that status.
func RetryOn(status int) RetryReason {
	switch {
	case status == 502:
		return Retry502
	case status == 503:
		return Retry503
	case status == 504:
		return Retry504
	case status >= 500 && status <= 599:
		return Retry5xx
	}
	return RetryOther
}
