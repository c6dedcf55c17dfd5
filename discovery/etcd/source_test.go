package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sidecar/discovery"
)

func TestLookThenFollowAndReportEachAnswer(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		f.wantLook(false).with(7, "a", "a:1", "b", "b:1")
		w := f.wantWatch(8)
		if u := s.want("a b", "a b"); u.Index != 7 || u.Unknown || !u.At.Equal(time.Now()) {
			t.Errorf("%+v", u)
		}
		w.put(9, "c", "c:1")
		if u := s.want("a b c"); u.Index != 9 {
			t.Errorf("%+v", u)
		}
		w.send(&pb.WatchResponse{Header: header(10), Events: []*mvccpb.Event{
			{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("/s/a")}},
			{Type: mvccpb.Event_PUT, Kv: &mvccpb.KeyValue{Key: []byte("/s/d"), Value: []byte("d:1")}},
		}})
		s.want("b c d") // one revision is one report
		before := time.Now()
		w.answer(12)
		if u := s.want("b c d"); u.Index != 12 || time.Since(before) > progressEvery || !u.At.Equal(time.Now()) {
			t.Errorf("after %v: %+v", time.Since(before), u)
		}
		for range 30 {
			w.answer(12)
			s.want("b c d")
		}
		if n := f.asked.Load(); n != 1 {
			t.Errorf("%d looks for a watch that is well", n)
		}
	})
}

func TestWatchThatIsSilentLeadsToALook(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		f.wantLook(false).with(7, "a", "a:1")
		f.wantWatch(8) // and that was its last word
		s.want("a", "a")
		silent := time.Now()
		l := f.wantLook(false)
		if after := time.Since(silent); after > 4*time.Second {
			t.Errorf("noticed after %v", after)
		}
		s.want() // that alone is no error
		l.with(9, "a", "a:1", "b", "b:1")
		f.wantWatch(10)
		s.want("a b", "a b")

		f.wantLook(false) // and this one hangs, too
		pass(answerTimeout)
		s.want("error: etcd: watch /s/: etcd at 127.0.0.1:2379: no answer within 5s; it hangs, or the network drops packets")
		f.wantLook(false).with(9, "b", "b:1")
		f.wantWatch(10)
		s.want("b", "b")
	})
}

func TestHistoryThatIsReplacedIsNoticed(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		f.wantLook(false).with(1000, "a", "a:1")
		w := f.wantWatch(1001)
		w.answer(1000)
		w.answer(7) // the member that answers now was restored from a snapshot
		f.wantLook(false).with(8, "b", "b:1")
		f.wantWatch(9)
		if u := s.want("a", "a", "a", "b", "b"); u.Index != 8 {
			t.Errorf("%+v", u)
		}
	})
}

func TestEndOfAWatchLeadsToALook(t *testing.T) {
	for name, end := range map[string]func(w *follow){
		"compacted":      func(w *follow) { w.send(&pb.WatchResponse{Canceled: true, CompactRevision: 9, Header: header(9)}) },
		"no leader":      func(w *follow) { w.end <- rpctypes.ErrGRPCNoLeader },
		"server stops":   func(w *follow) { w.end <- rpctypes.ErrGRPCStopped },
		"ended in order": func(w *follow) { w.end <- nil },
		"connection":     func(w *follow) { w.end <- status.Error(codes.Unavailable, "transport is closing") },
		"token": func(w *follow) {
			w.send(&pb.WatchResponse{Canceled: true, Header: header(7), CancelReason: rpctypes.ErrGRPCInvalidAuthToken.Error()})
		},
		"no reason": func(w *follow) { w.send(&pb.WatchResponse{Canceled: true, Header: header(7)}) },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, func(t *testing.T, f *fake) {
				s := f.watch("/s")
				f.wantLook(false).with(7, "a", "a:1")
				w := f.wantWatch(8)
				s.want("a", "a")
				ended := time.Now()
				end(w)
				f.wantLook(false).with(9, "a", "a:1")
				if after := time.Since(ended); after != 0 {
					t.Errorf("looked after %v", after)
				}
				f.wantWatch(10)
				s.want("a", "a")
			})
		})
	}
}

func TestWatchThatIsRefusedIsAnErrorAndTheSetIsPolled(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		f.wantLook(false).with(7, "a", "a:1")
		f.anyWatch().send(&pb.WatchResponse{Created: true, Canceled: true, WatchId: -1, Header: header(7), CancelReason: rpctypes.ErrGRPCPermissionDenied.Error()})
		s.want("a", "error: etcd: watch /s/: etcd hides it from the sidecar: etcdserver: permission denied; grant a role that reads the prefix")
		start, looks := time.Now(), 0
		for ; time.Since(start) < time.Minute && looks < 1000; looks++ {
			f.wantLook(false).with(7, "a", "a:1")
			f.anyWatch().end <- status.Error(codes.Unimplemented, "unknown service")
			synctest.Wait()
		}
		if looks < 25 || looks > 70 {
			t.Errorf("%d looks in a minute", looks)
		}
	})
}

func TestWatchesThatDieAtOnceDoNotMakeItSpin(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.watch("/s")
		start, looks := time.Now(), 0
		for ; time.Since(start) < time.Minute && looks < 1000; looks++ {
			f.wantLook(false).with(7, "a", "a:1")
			f.anyWatch().end <- rpctypes.ErrGRPCStopped
		}
		if most := int(time.Minute/every) + burst + 1; looks > most || looks < most-burst {
			t.Errorf("%d looks in a minute, want %d", looks, most)
		}
	})
}

func TestConstantChangeIsCoalescedAndASingleOneIsNotDelayed(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		f.wantLook(false).with(1, "a", "a:1")
		w := f.wantWatch(2)
		s.want("a", "a")
		for i := range burst {
			w.put(int64(2+i), "a", fmt.Sprintf("a:%d", 1+i))
			s.want("a")
		}
		reports, last := 0, discovery.Update{}
		const changes = 1000
		for i := range changes {
			w.put(int64(100+i), "a", fmt.Sprintf("a:%d", 1000+i), fmt.Sprint("k", i), fmt.Sprintf("k:%d", 1000+i))
			pass(10 * time.Millisecond)
			for ; len(s.updates) > 0; reports++ {
				last = <-s.updates
			}
		}
		pass(every)
		for ; len(s.updates) > 0; reports++ {
			last = <-s.updates
		}
		if most := int(changes*10*time.Millisecond/every) + 2; reports > most || reports < most/2 {
			t.Errorf("%d reports of %d changes in 10 s, want %d", reports, changes, most)
		}
		if len(last.Instances) != changes+1 || last.Instances[0].Address != fmt.Sprintf("a:%d", 1000+changes-1) {
			t.Errorf("the last report has %d instances and %+v", len(last.Instances), last.Instances[0])
		}
	})
}

func TestWithoutALeaderAnOldAnswerServesOnlyWhatIsNotKnownBetter(t *testing.T) {
	const noLeader = "error: etcd: watch /s/: etcd has no leader: etcdserver: no leader; restore a quorum of its members"
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		lost := func() *look {
			t.Helper()
			f.wantLook(false).fail(rpctypes.ErrGRPCNoLeader)
			return f.wantLook(true)
		}
		lost().with(5) // empty: a member that was away for long says so, too
		s.want(noLeader)
		lost().fail(rpctypes.ErrGRPCNoLeader)
		s.want(noLeader)
		lost().with(7, "a", "a:1", "b", "b:1", "c", "c:1", "d", "d:1")
		s.want("a b c d", noLeader)
		lost().with(6, "a", "a:1", "b", "b:1", "c", "c:1", "e", "e:1") // older than what is known
		s.want(noLeader)
		lost().with(8, "a", "a:1") // most of it lost
		s.want(noLeader)
		lost().with(9, "a", "a:1", "b", "b:1", "c", "c:1")
		s.want("a b c", noLeader)
		f.wantLook(false).with(10) // with a leader that is believed
		f.wantWatch(11)
		if u := s.want("", ""); u.Unknown {
			t.Errorf("%+v", u)
		}
	})
}

func TestErrorsAreWaitedOutWithGrowingPauses(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		f.wantLook(false).with(1, "a", "a:1")
		w := f.wantWatch(2)
		s.want("a", "a")
		w.end <- rpctypes.ErrGRPCStopped
		l := f.wantLook(false)
		for most := pauseFirst; most < 4*pauseMost; most *= 2 {
			l.fail(rpctypes.ErrGRPCCorrupt)
			u := s.want("error: etcd: watch /s/: etcd answers: etcdserver: corrupt cluster; see its log")
			if !errors.Is(u.Err, rpctypes.ErrCorrupt) {
				t.Errorf("the cause is not in the chain of %v", u.Err)
			}
			failed := time.Now()
			l = f.wantLook(false)
			if pause := time.Since(failed); pause > min(most, pauseMost) || pause < min(most, pauseMost)/2 {
				t.Errorf("pause of %v, want up to %v", pause, min(most, pauseMost))
			}
		}
	})
}

func TestAnswersThatAreNotOfEtcdAreToldAsTheyAre(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		f.wantLook(false).fail(status.Error(codes.Unknown, "no such page"))
		u := s.want("error: etcd: watch /s/: etcd at 127.0.0.1:2379 answers Unknown: no such page; see its log, and check what listens there")
		if status.Code(u.Err) != codes.Unknown {
			t.Errorf("the cause is not in the chain of %v", u.Err)
		}
		f.wantLook(false).with(1)
		f.anyWatch().end <- status.Error(codes.Unimplemented, "no watches here")
		s.want("", "error: etcd: watch /s/: etcd at 127.0.0.1:2379 answers Unimplemented: no watches here; see its log")
	})
}

func TestALoginThatHangsIsGivenUp(t *testing.T) {
	story(t, Options{Username: "reader", Password: "right"}, func(t *testing.T, f *fake) {
		f.password.Store("right")
		f.hangs.Store(true)
		sinks := []*sink{f.watch("/s"), f.watch("/s"), f.watch("/s")}
		pass(answerTimeout)
		for _, s := range sinks {
			s.want("error: etcd: watch /s/: etcd at 127.0.0.1:2379: no answer within 5s; it hangs")
		}
		f.hangs.Store(false)
		for range sinks {
			f.wantLook(false).with(1, "a", "a:1")
			f.wantWatch(2)
		}
		for _, s := range sinks {
			s.want("a", "a")
		}
	})
}

func TestRefreshLeadsToOneLook(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		source := f.client.Source(Query{Prefix: "/s/"})
		s := f.watchSource(source)
		f.wantLook(false).with(1, "a", "a:1")
		f.wantWatch(2)
		s.want("a", "a")
		asked := time.Now()
		discovery.Refresh(source)
		l := f.wantLook(false)
		if time.Since(asked) != 0 {
			t.Errorf("looked after %v", time.Since(asked))
		}
		for range 10 { // their connections may have failed after this look was made
			discovery.Refresh(source)
		}
		l.with(1, "b", "b:1")
		// The watch in between may have ended before etcd has heard of it.
		f.wantLook(false).with(1, "b", "b:1")
		w := f.wantWatch(2)
		s.want("b", "b", "b")
		w.answer(1)
		s.want("b")
	})
}

func TestAPrefixThatHoldsTooMuchIsAnError(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("/s")
		l := f.wantLook(false)
		if n := l.request.GetLimit(); n != maxKeys+1 {
			t.Errorf("asked for %d keys", n)
		}
		var keys []string
		for i := range maxKeys + 1 {
			keys = append(keys, fmt.Sprint("k", i), "x")
		}
		l.with(1, keys...)
		s.want("error: etcd: watch /s/: the prefix holds more than 50000 keys or 64 MiB; is it too short?")
		f.wantLook(false).with(1, "a", strings.Repeat("x", maxBytes))
		s.want("error: etcd: watch /s/: the prefix holds more than 50000 keys or 64 MiB; is it too short?")
		f.wantLook(false).with(2, "a", "a:1")
		w := f.wantWatch(3)
		s.want("a", "a")
		for i := range maxKeys/1000 + 1 {
			w.put(int64(3+i), keys[i*2000:min((i+1)*2000, len(keys))]...)
		}
		f.wantLook(false)
	})
}

func TestNoPrefixIsReportedOnce(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		s := f.watch("")
		s.want("error: etcd: no prefix to watch; set")
		pass(time.Hour)
		s.want()
		if n := f.asked.Load(); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	for name, prepare := range map[string]func(f *fake){
		"before anything": func(*fake) {},
		"during a look":   func(f *fake) { f.wantLook(false) },
		"during a pause":  func(f *fake) { f.wantLook(false).fail(rpctypes.ErrGRPCCorrupt) },
		"while following": func(f *fake) { f.wantLook(false).with(1); f.wantWatch(2) },
		"while a report is due": func(f *fake) {
			f.wantLook(false).with(1)
			w := f.wantWatch(2)
			for i := range int64(2 * burst) {
				w.put(2+i, "a", fmt.Sprintf("a:%d", 1+i))
				synctest.Wait()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, func(_ *testing.T, f *fake) {
				s := f.watch("/s")
				prepare(f)
				synctest.Wait()
				reported, ended := len(s.updates), time.Now()
				s.stop()
				if time.Since(ended) != 0 || len(s.updates) != reported {
					t.Errorf("ended after %v, with %d more updates", time.Since(ended), len(s.updates)-reported)
				}
			})
		})
	}
}

func TestAWrongPasswordIsNotTriedByEverybodyAllTheTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(path, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	story(t, Options{Username: "reader", PasswordFile: path}, func(t *testing.T, f *fake) {
		f.password.Store("right")
		sinks := make([]*sink, 20)
		for i := range sinks {
			sinks[i] = f.watch("/s")
		}
		pass(time.Minute)
		if n := f.logins.Load(); n < 20 || n > 31 {
			t.Errorf("%d logins in a minute", n)
		}
		for len(sinks[0].updates) > 0 {
			err := (<-sinks[0].updates).Err
			if err == nil || !strings.Contains(err.Error(), `etcd refuses user "reader" with the password in `+path+": etcdserver: authentication failed") {
				t.Fatalf("error %v", err)
			}
		}
		write("right")
		written := time.Now()
		before := f.logins.Load()
		l := f.wantLook(false)
		if time.Since(written) > soonMost || l.meta["token"][0] != "token-right" {
			t.Errorf("after %v, with %v", time.Since(written), l.meta)
		}
		pass(4 * time.Second)
		if n := f.logins.Load() - before; n != 1 {
			t.Errorf("%d logins with the right password", n)
		}
		for _, s := range sinks {
			go s.stop() // their looks wait for answers
		}
		synctest.Wait()
	})
}
