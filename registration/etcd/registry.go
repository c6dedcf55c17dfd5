// Package etcd announces the local service in etcd, as a key with a lease.
//
//	/services/orders/orders-1 → {"id":"orders-1","address":"10.0.0.1","port":8080,"weight":1}
//
// The key is there while the service is healthy, so that whoever reads the prefix sees those
// that work; discovery/etcd reads it, and it is plain enough for others. The lease is kept alive
// at each renewal, healthy or not, and takes the key away when nobody does that any more.
//
// An ID has to be unique among all hosts, since it is the key. When two announcements share one
// the last that was registered has it, and Renew tells the other so. Only a key that carries the
// own lease is ever deleted: what another has written stays, also what a former life of this
// process has, which ends with its lease if it is not replaced before.
package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sidecar/registration"
)

const (
	// DefaultPrefix is what keys begin with.
	DefaultPrefix = "/services/"
	// leastTTL is the least that etcd grants with its default timing, in seconds.
	leastTTL = 2
	// answerTimeout bounds what one call of a Registry takes.
	answerTimeout = 5 * time.Second
)

// Options say where announcements go.
type Options struct {
	// Prefix is what keys begin with, before the service's name. Without a slash at its end it is
	// taken to have one. Empty means DefaultPrefix.
	Prefix string
}

// A Registry announces in one etcd. It is for concurrent use, as registration.Registry says.
type Registry struct {
	kv     clientv3.KV
	leases clientv3.Lease
	keep   pb.LeaseClient
	prefix string

	mu   sync.Mutex
	held map[string]*holding // by key; those that are registered, or may be
}

// A holding is what etcd holds for one announcement, as far as is known. It belongs to the
// goroutine that speaks for the announcement.
type holding struct {
	lease clientv3.LeaseID
	value string // of the key; empty: there is none
}

// New returns a Registry that asks through client, which others may use and which stays open.
// It should be that of discovery/etcd, which logs in, and says why etcd cannot be reached.
func New(client *clientv3.Client, o Options) *Registry {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if !strings.HasSuffix(o.Prefix, "/") {
		o.Prefix += "/"
	}
	return &Registry{
		kv:     client.KV,
		leases: client.Lease,
		// The library's KeepAliveOnce tries again without a pause while etcd cannot be reached.
		keep:   pb.NewLeaseClient(client.ActiveConnection()),
		prefix: o.Prefix,
		held:   make(map[string]*holding),
	}
}

// Register writes the key with a lease if the service is healthy. Otherwise there is a lease only.
func (r *Registry) Register(ctx context.Context, a registration.Announcement, h registration.Health) error {
	key, value, err := r.describe(a)
	if err != nil {
		return explain("register", key, err)
	}
	ctx, cancel := begin(ctx)
	defer cancel()
	hold := r.holding(key)
	err = r.tell(ctx, hold, key, value, a.TTL, h.Passing)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		*hold = holding{} // that of the last time has ended
		err = r.tell(ctx, hold, key, value, a.TTL, h.Passing)
	}
	return explain("register", key, err)
}

// tell makes etcd hold what is so, under a lease.
func (r *Registry) tell(ctx context.Context, hold *holding, key, value string, ttl time.Duration, passing bool) error {
	if hold.lease == 0 {
		granted, err := r.leases.Grant(ctx, seconds(ttl))
		if err != nil {
			return err
		}
		hold.lease = granted.ID
	} else if err := r.keepAlive(ctx, hold.lease); err != nil {
		return err
	}
	if !passing {
		return r.remove(ctx, hold, key)
	}
	return r.write(ctx, hold, key, value)
}

func (r *Registry) write(ctx context.Context, hold *holding, key, value string) error {
	_, err := r.kv.Put(ctx, key, value, clientv3.WithLease(hold.lease))
	if err == nil {
		hold.value = value
	}
	return err
}

// remove deletes the key if it is ours.
func (r *Registry) remove(ctx context.Context, hold *holding, key string) error {
	_, err := r.kv.Txn(ctx).If(ours(key, hold)).Then(clientv3.OpDelete(key)).Commit()
	if err == nil {
		hold.value = ""
	}
	return err
}

// ours holds for a key that carries our lease.
func ours(key string, hold *holding) clientv3.Cmp {
	return clientv3.Compare(clientv3.LeaseValue(key), "=", hold.lease)
}

// Renew keeps the lease alive, and sees that the key is there as it was written, or writes or
// deletes it when the health has changed. The error is ErrForgotten when the lease has ended or
// the key is gone or was changed, but not when another announcement has taken it.
func (r *Registry) Renew(ctx context.Context, a registration.Announcement, h registration.Health) error {
	key, value, err := r.describe(a)
	if err != nil {
		return explain("renew", key, err)
	}
	ctx, cancel := begin(ctx)
	defer cancel()
	hold := r.holding(key)
	if hold.lease == 0 {
		return explain("renew", key, registration.ErrForgotten)
	}
	err = r.keepAlive(ctx, hold.lease)
	switch {
	case err != nil:
	case !h.Passing:
		err = r.remove(ctx, hold, key)
	case hold.value == "":
		err = r.write(ctx, hold, key, value)
	default:
		err = r.check(ctx, hold, key)
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		*hold = holding{}
		err = fmt.Errorf("%w: %w", registration.ErrForgotten, err)
	}
	return explain("renew", key, err)
}

// check sees whether the key is there as it was written.
func (r *Registry) check(ctx context.Context, hold *holding, key string) error {
	resp, err := r.kv.Txn(ctx).
		If(ours(key, hold), clientv3.Compare(clientv3.Value(key), "=", hold.value)).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil || resp.Succeeded {
		return err
	}
	for _, part := range resp.Responses {
		for _, kv := range part.GetResponseRange().GetKvs() {
			if kv.GetLease() != 0 && clientv3.LeaseID(kv.GetLease()) != hold.lease {
				return fmt.Errorf("another has the key now: %.200s; give each instance an ID of its own", kv.GetValue())
			}
		}
	}
	return registration.ErrForgotten
}

// Leave deletes the key. The lease goes on.
func (r *Registry) Leave(ctx context.Context, a registration.Announcement, _ string) error {
	key := r.key(a)
	ctx, cancel := begin(ctx)
	defer cancel()
	hold := r.holding(key)
	if hold.lease == 0 {
		return nil // there is nothing of ours
	}
	return explain("leave", key, r.remove(ctx, hold, key))
}

// Deregister revokes the lease, and the key with it if it is ours. What this Registry has not
// registered it does not take back.
func (r *Registry) Deregister(ctx context.Context, a registration.Announcement) error {
	key := r.key(a)
	ctx, cancel := begin(ctx)
	defer cancel()
	if hold := r.holding(key); hold.lease != 0 {
		_, err := r.leases.Revoke(ctx, hold.lease)
		if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return explain("deregister", key, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, key)
	return nil
}

// Lost is never signalled: Renew finds out whatever ends a lease, and a new password is taken
// by the client.
func (r *Registry) Lost() <-chan struct{} { return nil }

// keepAlive makes the lease last for its whole TTL again.
func (r *Registry) keepAlive(ctx context.Context, lease clientv3.LeaseID) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := r.keep.LeaseKeepAlive(ctx)
	if err != nil {
		return rpctypes.Error(err)
	}
	// Why sending fails is what Recv returns.
	_ = stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)})
	resp, err := stream.Recv()
	switch {
	case err != nil:
		return rpctypes.Error(err)
	case resp.GetTTL() <= 0:
		return rpctypes.ErrLeaseNotFound
	}
	return nil
}

func (r *Registry) holding(key string) *holding {
	r.mu.Lock()
	defer r.mu.Unlock()
	hold := r.held[key]
	if hold == nil {
		hold = new(holding)
		r.held[key] = hold
	}
	return hold
}

// begin bounds a call, and has it fail at once by a member that has no leader.
func begin(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(clientv3.WithRequireLeader(ctx), answerTimeout)
}

// seconds is the TTL of a lease: whole seconds, rounded up.
func seconds(ttl time.Duration) int64 {
	return max(int64((ttl+time.Second-1)/time.Second), leastTTL)
}

func (r *Registry) key(a registration.Announcement) string { return r.prefix + a.Name + "/" + a.ID }

// A document is the value of a key.
type document struct {
	ID      string            `json:"id"`
	Address string            `json:"address"`
	Port    int               `json:"port"`
	Weight  int               `json:"weight"`
	Tags    []string          `json:"tags,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"`
}

// describe is the announcement as key and value.
func (r *Registry) describe(a registration.Announcement) (key, value string, err error) {
	key = r.key(a)
	switch {
	case a.Name == "" || a.ID == "":
		return key, "", errors.New("it has no name or no ID; set both")
	case a.Address == "":
		// Consul's agent is on the same host and knows its address. etcd is elsewhere.
		return key, "", errors.New("it has no address; set the one at which others reach it")
	case a.Port < 1 || a.Port > 65535:
		return key, "", fmt.Errorf("port %d cannot be dialled; correct it", a.Port)
	}
	text, err := json.Marshal(document{a.ID, a.Address, a.Port, max(a.Weight, 1), a.Tags, a.Meta})
	return key, string(text), err
}

// explain says what failed and what to do about it. The cause stays in the chain.
func explain(what, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrNoLeader), errors.Is(err, rpctypes.ErrTimeout), errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail),
		errors.Is(err, rpctypes.ErrLeaderChanged), errors.Is(err, rpctypes.ErrTimeoutDueToConnectionLost):
		err = fmt.Errorf("etcd has no leader: %w; restore a quorum of its members", err)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		err = fmt.Errorf("%w; grant the sidecar's user a role that reads and writes the key", err)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		err = fmt.Errorf("etcd wants a login: %w; set etcd.username and etcd.password_file", err)
	case errors.Is(err, rpctypes.ErrNoSpace):
		err = fmt.Errorf("%w; compact and defragment etcd, then clear its alarm", err)
	}
	return fmt.Errorf("etcd: %s %s: %w", what, key, err)
}
