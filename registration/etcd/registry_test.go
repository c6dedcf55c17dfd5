package etcd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sidecar/discovery"
	discoveryetcd "sidecar/discovery/etcd"
	"sidecar/internal/servertest"
	"sidecar/registration"
)

// patience is when a condition that is polled counts as never to come. It is generous, for
// machines that are busy with other tests.
const patience = 30 * time.Second

// A tester is a real etcd, and a Registry that speaks for one announcement.
type tester struct {
	*Registry
	t      *testing.T
	server *servertest.Server
	client *discoveryetcd.Client
}

func newClient(t *testing.T, o discoveryetcd.Options) *discoveryetcd.Client {
	t.Helper()
	c, err := discoveryetcd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func start(t *testing.T) *tester {
	t.Helper()
	server := servertest.Etcd(t)
	client := newClient(t, discoveryetcd.Options{Endpoints: []string{server.Address()}})
	return &tester{New(client.API(), Options{}), t, server, client}
}

const key = "/services/orders/orders-1"

func announcement() registration.Announcement {
	return registration.Announcement{ID: "orders-1", Name: "orders", Address: "10.0.0.1", Port: 8080, Weight: 3, TTL: time.Minute, Meta: map[string]string{"zone": "b"}}
}

func passing() registration.Health  { return registration.Health{Passing: true} }
func critical() registration.Health { return registration.Health{Why: "503"} }

func (e *tester) ok(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *tester) register(h registration.Health) {
	e.t.Helper()
	e.ok(e.Register(e.t.Context(), announcement(), h))
}

func (e *tester) renew(h registration.Health) error {
	return e.Renew(e.t.Context(), announcement(), h)
}

// wantForgotten renews and wants to be told to register again, which it does.
func (e *tester) wantForgotten() {
	e.t.Helper()
	if err := e.renew(passing()); !errors.Is(err, registration.ErrForgotten) {
		e.t.Fatalf("renew: %v, want ErrForgotten", err)
	}
	e.register(passing())
	e.wantValue(ours1)
	e.ok(e.renew(passing()))
}

const ours1 = `{"id":"orders-1","address":"10.0.0.1","port":8080,"weight":3,"meta":{"zone":"b"}}`

// value is what the key has now; empty: it is not there.
func (e *tester) value() (value string, lease int64) {
	e.t.Helper()
	resp, err := e.client.API().Get(e.t.Context(), key)
	e.ok(err)
	if len(resp.Kvs) == 0 {
		return "", 0
	}
	return string(resp.Kvs[0].Value), resp.Kvs[0].Lease
}

func (e *tester) wantValue(want string) {
	e.t.Helper()
	if got, lease := e.value(); got != want || want != "" && lease == 0 {
		e.t.Fatalf("value %q with lease %x, want %q", got, lease, want)
	}
}

// until polls until something is so.
func (e *tester) until(what string, is func() bool) {
	e.t.Helper()
	for start := time.Now(); !is(); {
		if time.Since(start) > patience || !discovery.Sleep(e.t.Context(), 50*time.Millisecond, nil) {
			e.t.Fatalf("not so: %s", what)
		}
	}
}

// leases are how many etcd has.
func (e *tester) leases() int {
	e.t.Helper()
	resp, err := e.client.API().Leases(e.t.Context())
	e.ok(err)
	return len(resp.Leases)
}

func TestKeyIsThereWhileTheServiceIsHealthy(t *testing.T) {
	e := start(t)
	e.register(critical())
	e.wantValue("")
	e.ok(e.renew(critical()))
	e.wantValue("")
	e.ok(e.renew(passing()))
	e.wantValue(ours1)
	e.ok(e.renew(passing()))
	e.ok(e.renew(critical()))
	e.wantValue("")
	e.ok(e.renew(passing()))
	e.wantValue(ours1)
	e.ok(e.Leave(t.Context(), announcement(), "drain"))
	e.wantValue("")
	e.register(passing()) // ends what Leave has begun
	e.wantValue(ours1)
	if n := e.leases(); n != 1 {
		t.Errorf("%d leases for one announcement", n)
	}
	e.ok(e.Deregister(t.Context(), announcement()))
	e.wantValue("")
	if n := e.leases(); n != 0 {
		t.Errorf("%d leases are left", n)
	}
	e.ok(e.Deregister(t.Context(), announcement()))
	e.ok(e.Leave(t.Context(), announcement(), "drain"))
	if err := e.renew(passing()); !errors.Is(err, registration.ErrForgotten) {
		t.Errorf("renew of what was taken back: %v", err)
	}
}

// etcd counts in whole seconds, and with its default timing from two.
func TestTTLIsRoundedUpToWhatEtcdGrants(t *testing.T) {
	for ttl, want := range map[time.Duration]int64{
		-time.Second: 2, 0: 2, time.Millisecond: 2, time.Second: 2, 1500 * time.Millisecond: 2, 2 * time.Second: 2,
		2*time.Second + 1: 3, 2500 * time.Millisecond: 3, 15 * time.Second: 15, 15*time.Second - 1: 15, time.Hour: 3600,
	} {
		if got := seconds(ttl); got != want {
			t.Errorf("%v has become %d s, want %d", ttl, got, want)
		}
	}

	e := start(t)
	a := announcement()
	for ttl, want := range map[time.Duration]int64{time.Millisecond: 2, 20*time.Second + time.Millisecond: 21} {
		e.ok(e.Register(t.Context(), a, passing()))
		e.ok(e.Deregister(t.Context(), a))
		a.TTL = ttl
		e.ok(e.Register(t.Context(), a, passing()))
		_, lease := e.value()
		granted, err := e.client.API().TimeToLive(t.Context(), clientv3.LeaseID(lease))
		e.ok(err)
		if granted.GrantedTTL != want {
			t.Errorf("%v: etcd has granted %d s, want %d", ttl, granted.GrantedTTL, want)
		}
	}
}

func TestLeaseTakesTheKeyOfASidecarThatIsKilled(t *testing.T) {
	e := start(t)
	a := announcement()
	a.TTL = 1100 * time.Millisecond // rounded up to what etcd grants
	e.ok(e.Register(t.Context(), a, passing()))
	_, lease := e.value()
	ttl, err := e.client.API().TimeToLive(t.Context(), clientv3.LeaseID(lease))
	e.ok(err)
	if ttl.GrantedTTL != 2 {
		t.Errorf("TTL %d s", ttl.GrantedTTL)
	}
	e.until("the key ends with its lease", func() bool { got, _ := e.value(); return got == "" })
	e.wantForgotten()
}

func TestWhatIsLostIsForgotten(t *testing.T) {
	e := start(t)
	api := e.client.API()
	e.register(passing())

	_, lease := e.value()
	_, err := api.Revoke(t.Context(), clientv3.LeaseID(lease))
	e.ok(err)
	e.wantForgotten()

	_, err = api.Delete(t.Context(), key)
	e.ok(err)
	e.wantForgotten()

	_, err = api.Put(t.Context(), key, "10.0.0.9:1") // by hand, without a lease
	e.ok(err)
	e.wantForgotten()

	_, lease = e.value()
	_, err = api.Put(t.Context(), key, "10.0.0.9:1", clientv3.WithLease(clientv3.LeaseID(lease)))
	e.ok(err)
	e.wantForgotten()

	// Registering again without having been told that the lease has ended.
	_, err = api.Revoke(t.Context(), clientv3.LeaseID(lease))
	e.ok(err)
	e.register(passing())
	e.wantValue(ours1)
}

func TestTwoWithOneIDDoNotDeleteEachOthersKey(t *testing.T) {
	e := start(t)
	other, theirs := New(e.client.API(), Options{Prefix: "/services"}), announcement()
	theirs.Address = "10.0.0.2"
	e.register(passing())
	e.ok(other.Register(t.Context(), theirs, passing()))
	value, _ := e.value()
	if !strings.Contains(value, "10.0.0.2") {
		t.Fatalf("the last one has not won: %s", value)
	}
	err := e.renew(passing())
	if err == nil || errors.Is(err, registration.ErrForgotten) || !strings.Contains(err.Error(),
		"etcd: renew /services/orders/orders-1: another has the key now: "+value+"; give each instance an ID of its own") {
		t.Errorf("renew: %v", err)
	}
	e.ok(e.renew(critical()))
	e.wantValue(value)
	e.ok(e.Leave(t.Context(), announcement(), "drain"))
	e.wantValue(value)
	e.ok(e.Deregister(t.Context(), announcement()))
	e.wantValue(value)
	e.ok(other.Renew(t.Context(), theirs, passing()))

	// The first takes the key again when the second has gone.
	e.register(passing())
	if err := other.Renew(t.Context(), theirs, passing()); err == nil || errors.Is(err, registration.ErrForgotten) {
		t.Errorf("renew: %v", err)
	}
	e.ok(e.Deregister(t.Context(), announcement()))
	if err := other.Renew(t.Context(), theirs, passing()); !errors.Is(err, registration.ErrForgotten) {
		t.Errorf("renew: %v", err)
	}
}

func TestEtcdThatIsAwayAndComesBack(t *testing.T) {
	e := start(t)
	e.register(passing())
	e.server.Stop()
	e.until("it says so", func() bool {
		err := e.renew(passing())
		return err != nil && strings.HasSuffix(err.Error(),
			"etcd: renew "+key+": no answer of etcd at "+e.server.Address()+": connection refused; start it or correct etcd.endpoints")
	})
	e.server.Start() // leases are kept on disk
	e.until("it answers", func() bool { return e.renew(passing()) == nil })
	e.wantValue(ours1)

	e.server.Stop()
	e.ok(os.RemoveAll(filepath.Join(e.server.Dir(), "data")))
	e.server.Start() // with nothing
	e.until("it has forgotten", func() bool { return errors.Is(e.renew(passing()), registration.ErrForgotten) })
	e.register(passing())
	e.wantValue(ours1)
}

func TestEtcdThatHangsIsGivenUp(t *testing.T) {
	e := start(t)
	e.register(passing())
	e.server.Pause()
	for what, call := range map[string]func(context.Context) error{
		"renew":      func(ctx context.Context) error { return e.Renew(ctx, announcement(), passing()) },
		"register":   func(ctx context.Context) error { return e.Register(ctx, announcement(), passing()) },
		"leave":      func(ctx context.Context) error { return e.Leave(ctx, announcement(), "drain") },
		"deregister": func(ctx context.Context) error { return e.Deregister(ctx, announcement()) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := call(ctx)
		cancel()
		if err == nil || !strings.HasPrefix(err.Error(), "etcd: "+what+" "+key+": etcd at "+e.server.Address()+": no answer within ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := e.Renew(ended, announcement(), passing()); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("renew after the end of its context: %v", err)
	}
	e.server.Resume() // and does what it was told meanwhile, in that order or another
	e.until("it is there", func() bool {
		return e.Register(t.Context(), announcement(), passing()) == nil && e.renew(passing()) == nil
	})
	e.wantValue(ours1)
}

func TestWrongAnnouncementsAreNotMade(t *testing.T) {
	e := start(t)
	for want, change := range map[string]func(a *registration.Announcement){
		"no name or no ID": func(a *registration.Announcement) { a.Name = "" },
		"etcd: register /services/orders/: it has no name": func(a *registration.Announcement) { a.ID = "" },
		"it has no address; set":                           func(a *registration.Announcement) { a.Address = "" },
		"port 0 cannot be dialled":                         func(a *registration.Announcement) { a.Port = 0 },
		"port 65536 cannot":                                func(a *registration.Announcement) { a.Port = 65536 },
	} {
		a := announcement()
		change(&a)
		for _, err := range []error{e.Register(t.Context(), a, passing()), e.Renew(t.Context(), a, passing())} {
			if err == nil || !strings.Contains(strings.Replace(err.Error(), "renew", "register", 1), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
	if n := e.leases(); n != 0 {
		t.Errorf("%d leases were made", n)
	}
}

func TestUserWithoutTheRightToWrite(t *testing.T) {
	e := start(t)
	api, ctx := e.client.API(), t.Context()
	for _, user := range []string{"root", "sidecar"} {
		_, err := api.UserAdd(ctx, user, "secret")
		e.ok(err)
	}
	_, err := api.UserGrantRole(ctx, "root", "root")
	e.ok(err)
	_, err = api.AuthEnable(ctx)
	e.ok(err)
	client := newClient(t, discoveryetcd.Options{Endpoints: []string{e.server.Address()}, Username: "sidecar", Password: "secret"})
	err = New(client.API(), Options{}).Register(ctx, announcement(), passing())
	if err == nil || !strings.Contains(err.Error(), "permission denied; grant the sidecar's user a role that reads and writes the key") {
		t.Errorf("register: %v", err)
	}
	if err = e.Register(ctx, announcement(), passing()); err == nil || !strings.Contains(err.Error(), "etcd wants a login") {
		t.Errorf("register: %v", err)
	}
}

// TestLifeOfAnAnnouncement runs a Registrar, and reads what others see of it.
func TestLifeOfAnAnnouncement(t *testing.T) {
	e := start(t)
	a := announcement()
	a.TTL = 3 * time.Second
	registrar := registration.New(registration.Options{Announcement: a, Registry: e.Registry, Kind: "etcd"})
	updates := make(chan discovery.Update, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); registrar.Run(ctx) }()
	watch, stop := context.WithCancel(t.Context())
	go func() {
		defer close(watched)
		e.client.Source(discoveryetcd.Query{Prefix: "/services/orders"}).Watch(watch, func(u discovery.Update) { updates <- u })
	}()
	defer func() { cancel(); <-ended; stop(); <-watched }()
	sees := func(n int) discovery.Update {
		t.Helper()
		timeout := time.NewTimer(patience)
		defer timeout.Stop()
		for {
			select {
			case u := <-updates:
				if u.Err == nil && len(u.Instances) == n {
					return u
				}
			case <-timeout.C:
				t.Fatalf("others do not see %d instances", n)
			}
		}
	}
	sees(0)
	registrar.SetHealth(passing())
	want := []discovery.Instance{{ID: "orders-1", Address: "10.0.0.1:8080", Weight: 3, Zone: "b", Meta: map[string]string{"zone": "b"}}}
	if u := sees(1); !discovery.Equal(u.Instances, want) {
		t.Errorf("others see %+v", u.Instances)
	}
	registrar.SetHealth(critical())
	sees(0)
	registrar.SetHealth(passing())
	sees(1)
	_, err := e.client.API().Delete(t.Context(), key)
	e.ok(err)
	sees(0)
	sees(1) // the next renewal has found out
	e.ok(registrar.Leave(t.Context(), "drain"))
	if u := sees(0); u.Unknown {
		t.Errorf("%+v", u)
	}
	cancel()
	<-ended
	if n := e.leases(); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}
