package etcd

import (
	"context"
	"errors"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// get asks for all keys below prefix: of a member that has heard of its leader just now, or of
// any member (stale), whose answer may be old.
func (c *Client) get(ctx context.Context, prefix string, stale bool) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithLimit(maxKeys + 1)}
	if stale {
		opts = append(opts, clientv3.WithSerializable())
	} else {
		// Without a leader it answers so at once, where it would wait for one otherwise.
		ctx = clientv3.WithRequireLeader(ctx)
	}
	return c.api.Get(ctx, prefix, opts...)
}

// A stream is a watch on the keys below a prefix. Its methods are for one goroutine.
type stream struct {
	rpc      pb.Watch_WatchClient
	cancel   context.CancelFunc
	messages chan *pb.WatchResponse // closed at the end
	err      error                  // why it has ended; readable when messages is closed
}

var (
	errSilent    = errors.New("the watch does not answer")
	errRewound   = errors.New("the history of etcd has been replaced")
	errCompacted = errors.New("the history since the last look has been compacted")
	errAsked     = errors.New("asked to look again")
)

// open begins a watch for what is after revision. It ends when ctx does, at the latest, and has
// to be closed.
func (c *Client) open(ctx context.Context, prefix string, revision int64) (*stream, error) {
	// A member that has lost its leader ends the watch, which would hear of nothing any more.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	late := time.AfterFunc(answerTimeout, cancel)
	rpc, err := c.watch.Watch(ctx, grpc.MaxCallRecvMsgSize(maxBytes))
	if !late.Stop() {
		err = errSilent
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := &stream{rpc: rpc, cancel: cancel, messages: make(chan *pb.WatchResponse)}
	go s.receive(ctx)
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key:           []byte(prefix),
		RangeEnd:      []byte(clientv3.GetPrefixRangeEnd(prefix)),
		StartRevision: revision + 1,
	}}})
	return s, nil
}

// receive hands over what arrives until the stream ends.
func (s *stream) receive(ctx context.Context) {
	defer close(s.messages)
	for {
		m, err := s.rpc.Recv()
		if err != nil {
			s.err = err
			return
		}
		select {
		case s.messages <- m:
		case <-ctx.Done():
			s.err = ctx.Err()
			return
		}
	}
}

// askProgress asks for a message with the revision that the watch has come to.
func (s *stream) askProgress() {
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

// send fails only when the stream has ended, and why is what receive learns.
func (s *stream) send(r *pb.WatchRequest) { _ = s.rpc.Send(r) }

// close ends the stream and what belongs to it.
func (s *stream) close() {
	s.cancel()
	for m := range s.messages {
		_ = m // came too late
	}
}

// canceled is why etcd has ended a watch, from the reason that it gives as a text.
func canceled(m *pb.WatchResponse) error {
	if m.GetCompactRevision() != 0 {
		return errCompacted
	}
	reason := m.GetCancelReason()
	if reason == "" {
		return errSilent
	}
	if _, desc, ok := strings.Cut(reason, "desc = "); ok {
		reason = desc
	}
	return rpctypes.Error(errors.New(reason))
}

// quorumLost tells whether an error means that etcd has no leader, or is about to find one.
func quorumLost(err error) bool {
	err = rpctypes.Error(err)
	for _, is := range []error{
		rpctypes.ErrNoLeader, rpctypes.ErrNotLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail,
		rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrTimeoutWaitAppliedIndex, rpctypes.ErrUnhealthy,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
