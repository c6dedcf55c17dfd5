package etcd

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sidecar/discovery"
	"sidecar/internal/servertest"
)

// These tests drive a real etcd. The time they grant is for busy machines.
const patience = 30 * time.Second

// A watching is a Watch under way, read by one test.
type watching struct {
	t       *testing.T
	updates chan discovery.Update
	stop    func()
}

// startWatch runs a Source until the test ends or calls stop.
func startWatch(t *testing.T, s discovery.Source) *watching {
	t.Helper()
	w := &watching{t: t, updates: make(chan discovery.Update, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Watch(ctx, func(u discovery.Update) { w.updates <- u })
	}()
	w.stop = func() { cancel(); <-done }
	t.Cleanup(w.stop)
	return w
}

// next returns the next update that is as wanted.
func (w *watching) next(what string, is func(discovery.Update) bool) discovery.Update {
	w.t.Helper()
	start := time.Now()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	var last discovery.Update
	for {
		select {
		case last = <-w.updates:
			if is(last) {
				w.t.Logf("%s after %v", what, time.Since(start).Round(time.Millisecond))
				return last
			}
		case <-timeout.C:
			w.t.Fatalf("no %s; the last update was %+v", what, last)
		}
	}
}

// eventually waits for the set with these IDs.
func (w *watching) eventually(ids ...string) discovery.Update {
	w.t.Helper()
	return w.next(strings.Join(ids, " "), func(u discovery.Update) bool {
		return u.Err == nil && slices.EqualFunc(u.Instances, ids, func(i discovery.Instance, id string) bool { return i.ID == id })
	})
}

// eventuallyErr waits for an error with text in it.
func (w *watching) eventuallyErr(text string) discovery.Update {
	w.t.Helper()
	return w.next("error: "+text, func(u discovery.Update) bool { return u.Err != nil && strings.Contains(u.Err.Error(), text) })
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A writer writes keys into a real etcd.
type writer struct {
	t   *testing.T
	api *clientv3.Client
}

func newWriter(t *testing.T, address string) writer {
	return writer{t, newClient(t, Options{Endpoints: []string{address}}).API()}
}

// until repeats a call while etcd is on its way up.
func (w writer) until(call func() error) {
	w.t.Helper()
	start := time.Now()
	for err := call(); err != nil; err = call() {
		if time.Since(start) > patience || !discovery.Sleep(w.t.Context(), 50*time.Millisecond, nil) {
			w.t.Fatal(err)
		}
	}
}

func (w writer) put(pairs ...string) {
	w.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		w.until(func() error {
			_, err := w.api.Put(w.t.Context(), pairs[i], pairs[i+1])
			return err
		})
	}
}

func (w writer) delete(key string) {
	w.t.Helper()
	w.until(func() error {
		_, err := w.api.Delete(w.t.Context(), key)
		return err
	})
}

func TestRealEtcdReportsEachChange(t *testing.T) {
	server := servertest.Etcd(t)
	etcd := newWriter(t, server.Address())
	client := newClient(t, Options{Endpoints: []string{server.Address()}})
	w := startWatch(t, client.Source(Query{Prefix: "/services/orders"}))
	if u := w.eventually(); !u.Unknown || u.Index == 0 || u.At.IsZero() {
		t.Errorf("nobody has written a key: %+v", u)
	}
	etcd.put("/services/orders2/x", "10.0.0.9:1", "/services/orders/a", "10.0.0.1:1")
	if u := w.eventually("a"); u.Unknown || u.Instances[0].Address != "10.0.0.1:1" {
		t.Errorf("%+v", u)
	}
	etcd.put("/services/orders/b", `{"address":"10.0.0.2","port":2,"zone":"z"}`)
	w.eventually("a", "b")
	etcd.put("/services/orders/c", "nowhere")
	if u := w.next("problem", func(u discovery.Update) bool { return len(u.Problems) == 1 }); len(u.Instances) != 2 ||
		u.Problems[0] != `"c": instance "nowhere": no port; write nowhere:PORT` {
		t.Errorf("%+v", u)
	}
	etcd.delete("/services/orders/a")
	w.eventually("b")
	etcd.delete("/services/orders/b") // what is left is a mistake, and no reason to drop b
	w.eventuallyErr(`etcd: watch /services/orders/: no key has a usable value: "c": instance "nowhere"`)
	etcd.delete("/services/orders/c")
	if u := w.eventually(); u.Unknown || len(u.Problems) != 0 {
		t.Errorf("it was known a moment ago: %+v", u)
	}
	// It goes on to tell that nothing changes.
	for range 2 {
		w.eventually()
	}
}

func TestRealEtcdLeaseThatEndsTakesItsInstance(t *testing.T) {
	server := servertest.Etcd(t)
	etcd := newWriter(t, server.Address())
	lease, err := etcd.api.Grant(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.api.Put(t.Context(), "/s/a", "a:1", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, newClient(t, Options{Endpoints: []string{server.Address()}}).Source(Query{Prefix: "/s/"}))
	w.eventually("a")
	w.eventually()
}

func TestRealEtcdGoesAwayAndComesBack(t *testing.T) {
	server := servertest.Etcd(t)
	etcd := newWriter(t, server.Address())
	etcd.put("/s/a", "a:1")
	w := startWatch(t, newClient(t, Options{Endpoints: []string{"http://" + server.Address()}}).Source(Query{Prefix: "/s"}))
	w.eventually("a")

	server.Stop()
	w.eventuallyErr("etcd: watch /s/: no answer of etcd at " + server.Address() + ": connection refused; start it or correct etcd.endpoints")
	server.Start()
	back := time.Now()
	u := w.next("set", func(u discovery.Update) bool { return u.Err == nil })
	if len(u.Instances) != 1 || time.Since(back) > 5*time.Second {
		t.Errorf("after %v: %+v", time.Since(back), u)
	}
	etcd.put("/s/b", "b:1")
	w.eventually("a", "b")
}

func TestRealEtcdThatHangsIsNoticedAndItsReturnToo(t *testing.T) {
	server := servertest.Etcd(t)
	etcd := newWriter(t, server.Address())
	etcd.put("/s/a", "a:1")
	w := startWatch(t, newClient(t, Options{Endpoints: []string{server.Address()}}).Source(Query{Prefix: "/s"}))
	w.eventually("a")
	server.Pause()
	w.eventuallyErr("etcd at " + server.Address() + ": no answer within")
	// Until gRPC has given the connection up, too.
	w.eventuallyErr("etcd: watch /s/: etcd at " + server.Address())
	server.Resume()
	back := time.Now()
	w.eventually("a")
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("updates are back after %v", took)
	}
	etcd.put("/s/b", "b:1")
	w.eventually("a", "b")
}

func TestRealEtcdIsThereLaterThanTheWatch(t *testing.T) {
	server := servertest.Etcd(t)
	server.Stop()
	w := startWatch(t, newClient(t, Options{Endpoints: []string{server.Address()}}).Source(Query{Prefix: "/s"}))
	w.eventuallyErr("connection refused")
	server.Start()
	w.eventually()
	newWriter(t, server.Address()).put("/s/a", "a:1")
	w.eventually("a")
}

func TestRealEtcdRestoredFromABackupGoesBackInItsRevisions(t *testing.T) {
	server := servertest.Etcd(t)
	etcd := newWriter(t, server.Address())
	etcd.put("/s/a", "a:1")
	data, backup := filepath.Join(server.Dir(), "data"), filepath.Join(t.TempDir(), "backup")
	server.Stop()
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	server.Start()
	for range 50 { // revisions that the next history does not reach for long
		etcd.put("/s/a", "a:2", "/s/b", "b:1")
	}
	w := startWatch(t, newClient(t, Options{Endpoints: []string{server.Address()}}).Source(Query{Prefix: "/s"}))
	before := w.eventually("a", "b").Index
	server.Stop()
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(data, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	server.Start()
	if u := w.eventually("a"); u.Index >= before || u.Instances[0].Address != "a:1" {
		t.Fatalf("index %d after %d, %+v: the history is not the former one", u.Index, before, u)
	}
	etcd.put("/s/c", "c:1")
	w.eventually("a", "c")
}

func TestRealEtcdCompactsAndGoesOn(t *testing.T) {
	server := servertest.Etcd(t)
	etcd := newWriter(t, server.Address())
	client := newClient(t, Options{Endpoints: []string{server.Address()}})
	etcd.put("/s/a", "a:1", "/s/a", "a:2", "/s/a", "a:3")
	resp, err := etcd.api.Get(t.Context(), "/s/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.api.Compact(t.Context(), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	// A watch from a revision that is compacted says so, and that leads to a look.
	s, err := client.open(t.Context(), "/s/", resp.Header.Revision-2)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	end := (&watch{entries: newEntries("/s/")}).drain(s)
	if end != errCompacted || !lookAgain(end) { //nolint:errorlint // this very one
		t.Errorf("the watch ended with %v", end)
	}
	w := startWatch(t, client.Source(Query{Prefix: "/s"}))
	w.eventually("a")
	etcd.put("/s/b", "b:1")
	w.eventually("a", "b")
}

// drain applies what arrives until something is wrong.
func (w *watch) drain(s *stream) error {
	for m := range s.messages {
		if err := w.apply(m); err != nil {
			return err
		}
	}
	return s.err
}

// enableAuth makes a user "reader" with a password, who may read below /s/.
func enableAuth(t *testing.T, api *clientv3.Client, password string) {
	t.Helper()
	ctx := t.Context()
	for _, step := range []func() error{
		func() error { _, err := api.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := api.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := api.RoleAdd(ctx, "reads"); return err },
		func() error {
			_, err := api.RoleGrantPermission(ctx, "reads", "/s/", clientv3.GetPrefixRangeEnd("/s/"), clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := api.UserAdd(ctx, "reader", password); return err },
		func() error { _, err := api.UserGrantRole(ctx, "reader", "reads"); return err },
		func() error { _, err := api.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRealEtcdWithAuthentication(t *testing.T) {
	server := servertest.Etcd(t)
	etcd := newWriter(t, server.Address())
	etcd.put("/s/a", "a:1")
	path := filepath.Join(t.TempDir(), "password")
	client := newClient(t, Options{Endpoints: []string{server.Address()}, Username: "reader", PasswordFile: path})
	writePassword := func(password string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := startWatch(t, client.Source(Query{Prefix: "/s"}))
	w.eventuallyErr("etcd: watch /s/: password file: stat " + path)
	writePassword("early") // etcd wants no authentication yet, and any password will do
	w.eventually("a")

	enableAuth(t, etcd.api, "first")
	root := writer{t, newClient(t, Options{Endpoints: []string{server.Address()}, Username: "root", Password: "root"}).API()}
	root.put("/s/b", "b:1")
	w.eventually("a", "b") // a watch goes on when authentication begins, in etcd before 3.5
	server.Stop()
	server.Start()
	u := w.eventuallyErr(`etcd refuses user "reader" with the password in ` + path)
	if strings.Contains(u.Err.Error(), "early") {
		t.Errorf("the password is in the error: %v", u.Err)
	}
	writePassword("first")
	w.eventually("a", "b")

	other := startWatch(t, client.Source(Query{Prefix: "/other"}))
	other.eventuallyErr(`etcd: watch /other/: etcd hides it from user "reader": etcdserver: permission denied; grant a role`)
	nobody := startWatch(t, newClient(t, Options{Endpoints: []string{server.Address()}}).Source(Query{Prefix: "/s"}))
	nobody.eventuallyErr("etcd wants a login: etcdserver: user name is empty; set etcd.username")

	// The password is changed, which ends the token: the next login takes it from the file.
	if _, err := root.api.UserChangePassword(t.Context(), "reader", "second"); err != nil {
		t.Fatal(err)
	}
	writePassword("second")
	late := startWatch(t, client.Source(Query{Prefix: "/s/"}))
	late.eventually("a", "b")
	root.put("/s/c", "c:1")
	late.eventually("a", "b", "c")
	w.eventually("a", "b", "c")
}
