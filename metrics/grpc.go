package metrics

import "strconv"

// A GRPCCode is how a call of gRPC ended: its grpc-status, or GRPCMissing.
type GRPCCode uint8

// The codes that are looked at (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
const (
	GRPCOK                GRPCCode = 0
	GRPCCancelled         GRPCCode = 1
	GRPCUnknown           GRPCCode = 2
	GRPCDeadlineExceeded  GRPCCode = 4
	GRPCResourceExhausted GRPCCode = 8
	GRPCUnimplemented     GRPCCode = 12
	GRPCInternal          GRPCCode = 13
	GRPCUnavailable       GRPCCode = 14
	GRPCDataLoss          GRPCCode = 15
	GRPCUnauthenticated   GRPCCode = 16

	GRPCMissing GRPCCode = 17 // it ended without a status, or with one that is no code
)

// grpcCodes is how many there are, those without a name included.
const grpcCodes = int(GRPCMissing) + 1

// String is the code as a number, which is how gRPC's own tools count it, or "missing".
func (c GRPCCode) String() string {
	if c >= GRPCMissing {
		return "missing"
	}
	return strconv.Itoa(int(c))
}

// GRPC counts the end of a call of gRPC.
func (s *HTTPShard) GRPC(c GRPCCode) {
	s.grpc[min(c, GRPCMissing)].Add(1)
}
