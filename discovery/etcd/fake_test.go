package etcd

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"sidecar/discovery"
)

// A fake is an etcd that answers what the test says, in virtual time.
type fake struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer
	pb.UnimplementedAuthServer

	t        *testing.T
	client   *Client
	listener *bufconn.Listener
	looks    chan *look
	watches  chan *follow
	asked    atomic.Int64 // looks
	password atomic.Value // string: the one that is right; nil: etcd wants none
	hangs    atomic.Bool  // logins get no answer
	logins   atomic.Int64
}

// A look is one Range that waits for its answer.
type look struct {
	f       *fake
	request *pb.RangeRequest
	meta    metadata.MD
	reply   chan any // *pb.RangeResponse or error
}

// A follow is one watch that was opened.
type follow struct {
	f        *fake
	create   *pb.WatchCreateRequest
	meta     metadata.MD
	stream   pb.Watch_WatchServer
	progress chan struct{} // one for each question
	end      chan error
}

// story runs a test in virtual time. When it is over, the bubble fails if a goroutine is left.
func story(t *testing.T, o Options, test func(t *testing.T, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, listener: bufconn.Listen(1 << 16), looks: make(chan *look), watches: make(chan *follow)}
		server := grpc.NewServer()
		pb.RegisterKVServer(server, f)
		pb.RegisterWatchServer(server, f)
		pb.RegisterAuthServer(server, f)
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(f.listener) }()
		t.Cleanup(func() { server.Stop(); <-served })
		if o.dial == nil {
			o.dial = func(ctx context.Context, _ string) (net.Conn, error) { return f.listener.DialContext(ctx) }
		}
		f.client = newClient(t, o)
		test(t, f)
	})
}

func (f *fake) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	f.asked.Add(1)
	meta, _ := metadata.FromIncomingContext(ctx)
	if _, wanted := f.password.Load().(string); wanted && len(meta["token"]) == 0 {
		return nil, rpctypes.ErrGRPCUserEmpty
	}
	l := &look{f, r, meta, make(chan any)}
	select {
	case f.looks <- l:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case reply := <-l.reply:
		if err, ok := reply.(error); ok {
			return nil, err
		}
		return reply.(*pb.RangeResponse), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *fake) Watch(stream pb.Watch_WatchServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	meta, _ := metadata.FromIncomingContext(stream.Context())
	w := &follow{f, first.GetCreateRequest(), meta, stream, make(chan struct{}, 1000), make(chan error, 1)}
	select {
	case f.watches <- w:
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	go func() {
		for {
			if r, err := stream.Recv(); err != nil {
				return
			} else if r.GetProgressRequest() != nil {
				w.progress <- struct{}{}
			}
		}
	}()
	select {
	case err := <-w.end:
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

func (f *fake) Authenticate(ctx context.Context, r *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	f.logins.Add(1)
	if f.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	switch right, wanted := f.password.Load().(string); {
	case !wanted:
		return nil, rpctypes.ErrGRPCAuthNotEnabled
	case r.GetName() != "reader" || r.GetPassword() != right:
		return nil, rpctypes.ErrGRPCAuthFailed
	}
	return &pb.AuthenticateResponse{Token: "token-" + r.GetPassword()}, nil
}

func header(revision int64) *pb.ResponseHeader { return &pb.ResponseHeader{Revision: revision} }

func pairs(prefix string, revision int64, keysAndValues []string) []*mvccpb.KeyValue {
	var out []*mvccpb.KeyValue
	for i := 0; i < len(keysAndValues); i += 2 {
		out = append(out, &mvccpb.KeyValue{Key: []byte(prefix + keysAndValues[i]), Value: []byte(keysAndValues[i+1]), ModRevision: revision})
	}
	return out
}

// wantLook waits for the next look, which goes to any member or (stale) not.
func (f *fake) wantLook(stale bool) *look {
	f.t.Helper()
	synctest.Wait()
	select {
	case l := <-f.looks:
		if l.request.GetSerializable() != stale || (len(l.meta[rpctypes.MetadataRequireLeaderKey]) > 0) == stale {
			f.t.Fatalf("look %v with %v, want stale: %v", l.request, l.meta, stale)
		}
		return l
	case <-time.After(time.Minute):
		f.t.Fatal("nobody looks")
		return nil
	}
}

// with answers a look with keys below "/s/".
func (l *look) with(revision int64, keysAndValues ...string) {
	kvs := pairs("/s/", revision, keysAndValues)
	l.reply <- &pb.RangeResponse{Header: header(revision), Kvs: kvs, Count: int64(len(kvs))}
}

func (l *look) fail(err error) { l.reply <- err }

// anyWatch waits for a watch and answers nothing yet.
func (f *fake) anyWatch() *follow {
	f.t.Helper()
	synctest.Wait() // those that have ended already do not count
	select {
	case w := <-f.watches:
		return w
	case <-time.After(time.Minute):
		f.t.Fatal("nobody watches")
		return nil
	}
}

// wantWatch waits for a watch of "/s/" from a revision on, and says that it is there.
func (f *fake) wantWatch(from int64) *follow {
	f.t.Helper()
	w := f.anyWatch()
	if w.create.GetStartRevision() != from || string(w.create.GetKey()) != "/s/" || string(w.create.GetRangeEnd()) != "/s0" || len(w.meta[rpctypes.MetadataRequireLeaderKey]) == 0 {
		f.t.Fatalf("watch %v with %v, want one from %d", w.create, w.meta, from)
	}
	w.send(&pb.WatchResponse{Created: true, Header: header(from - 1)})
	return w
}

func (w *follow) send(m *pb.WatchResponse) {
	w.f.t.Helper()
	if err := w.stream.Send(m); err != nil {
		w.f.t.Fatal(err)
	}
}

func (w *follow) put(revision int64, keysAndValues ...string) {
	w.f.t.Helper()
	m := &pb.WatchResponse{Header: header(revision)}
	for _, kv := range pairs("/s/", revision, keysAndValues) {
		m.Events = append(m.Events, &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv})
	}
	w.send(m)
}

// answer waits for the next question how far the watch has come, and answers.
func (w *follow) answer(revision int64) {
	w.f.t.Helper()
	select {
	case <-w.progress:
		w.send(&pb.WatchResponse{Header: header(revision), WatchId: -1})
	case <-time.After(time.Minute):
		w.f.t.Fatal("nobody asks for progress")
	}
}

// A sink keeps what a Source reports, in words.
type sink struct {
	t       *testing.T
	updates chan discovery.Update
	stop    func()
}

func (f *fake) watch(prefix string) *sink {
	return f.watchSource(f.client.Source(Query{Prefix: prefix}))
}

func (f *fake) watchSource(s discovery.Source) *sink {
	w := startWatch(f.t, s)
	return &sink{f.t, w.updates, w.stop}
}

// want waits until nothing moves any more and compares what was reported since the last time:
// "a b" is a set, "error: …" the begin of an error.
func (s *sink) want(want ...string) discovery.Update {
	s.t.Helper()
	synctest.Wait()
	var got []string
	var last discovery.Update
	for len(s.updates) > 0 {
		last = <-s.updates
		var words []string
		for _, i := range last.Instances {
			words = append(words, i.ID)
		}
		if last.Err != nil {
			words = []string{"error:", last.Err.Error()}
		}
		got = append(got, strings.Join(words, " "))
	}
	if !slices.EqualFunc(got, want, func(g, w string) bool {
		return g == w || strings.HasPrefix(w, "error:") && strings.HasPrefix(g, w)
	}) {
		s.t.Fatalf("reported %q, want %q", got, want)
	}
	return last
}

// pass lets time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
