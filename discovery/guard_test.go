package discovery

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const gone9of10 = "error: 9 of 10 instances are gone at once; this is looked up again before it is believed"

// guarded runs a Guard that believes in a loss of half after 2 s, whose instances refuse
// connections when refuses says so.
func guarded(t *testing.T, refuses func(address string) bool, last ...Instance) (*scripted, *sink) {
	t.Helper()
	s := newScripted()
	out, stop := watch(Guard(s, GuardOptions{Share: 0.5, After: 2 * time.Second, Last: last,
		Refuses: func(ctx context.Context, address string) bool {
			if refuses == nil {
				<-ctx.Done()
				return false
			}
			return refuses(address)
		}}))
	t.Cleanup(stop)
	return s, out
}

func (s *scripted) say(u Update) {
	s.updates <- u
	synctest.Wait()
}

func TestGuardBelievesALossThatAFreshLookupConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := guarded(t, nil)
		s.say(set("a b c d e f g h i j"))
		s.say(set("a b c d e")) // half of it is not most
		s.say(set("a b c d e f g h i j"))
		out.want(t, "[a b c d e f g h i j]", "[a b c d e]", "[a b c d e f g h i j]")

		s.say(set("a"))
		out.want(t, gone9of10)
		time.Sleep(1999 * time.Millisecond)
		s.say(set("b")) // of a lookup before the one that counts
		if out.want(t); s.asked() != 0 {
			t.Fatal("it looks again before the time")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if out.want(t); s.asked() != 1 {
			t.Fatal("it does not look again")
		}
		s.say(Update{Err: errDown}) // confirms nothing
		out.want(t, "error: registry is down")
		s.say(set("b"))
		s.say(set("b c"))
		out.want(t, "[b]", "[b c]")
	})
}

func TestGuardForgetsALossThatWasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := guarded(t, nil)
		s.say(set("a b c d e f g h i j"))
		s.say(set(""))
		s.say(set("a b c d e f g h i"))
		out.want(t, "[a b c d e f g h i j]",
			"error: 10 of 10 instances are gone at once; this is looked up again before it is believed",
			"[a b c d e f g h i]")
		time.Sleep(time.Minute)
		if out.want(t); s.asked() != 0 {
			t.Fatal("it looks again although all are back")
		}
		s.say(set("")) // a second loss takes as long as the first
		time.Sleep(1999 * time.Millisecond)
		s.say(set(""))
		out.want(t, "error: 9 of 9 instances are gone at once; this is looked up again before it is believed")
	})
}

func TestGuardBelievesAtOnceWhenTheLostRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			name, refusing string // addresses end in 1000 + the letter
			believed       bool
		}{{"all", "bcdefghij", true}, {"most", "bcdef", true}, {"some", "bcde", false}, {"none", "", false}} {
			s, out := guarded(t, func(address string) bool {
				for _, id := range test.refusing {
					if strings.HasSuffix(address, set(string(id)).Instances[0].Address) {
						return true
					}
				}
				return false
			})
			s.say(set("a b c d e f g h i j"))
			s.say(set("a"))
			if test.believed {
				out.want(t, "[a b c d e f g h i j]", gone9of10, "[a]")
			} else {
				out.want(t, "[a b c d e f g h i j]", gone9of10)
			}
		}
	})
}

func TestGuardKnowsTheSetOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, out := guarded(t, nil, set("a b c").Instances...)
		s.say(set(""))
		out.want(t, "error: 3 of 3 instances are gone at once; this is looked up again before it is believed")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s.say(set(""))
		out.want(t, "[]")
		s.say(set("d e f"))
		s.say(set("g h")) // as many have come as have gone, nearly
		out.want(t, "[d e f]", "[g h]")
	})
}

func TestGuardOfASourceThatCannotBeAskedWaitsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted()
		out, stop := watch(Guard(struct{ Source }{s}, GuardOptions{Share: 0.5, After: 2 * time.Second,
			Refuses: func(context.Context, string) bool { return false }}))
		defer stop()
		s.say(set("a b"))
		s.say(set(""))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		out.want(t, "[a b]", "error: 2 of 2 instances are gone at once; this is looked up again before it is believed", "[]")
	})
}

func TestRefusedTellsOnlyWhoIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if Refused(ctx, l.Addr().String()) {
		t.Error("one that listens is told to refuse")
	}
	l.Close()
	if !Refused(ctx, l.Addr().String()) {
		t.Error("one that has ended is not told to refuse")
	}
	socket := filepath.Join(t.TempDir(), "s")
	if !Refused(ctx, "unix:"+socket) {
		t.Error("a socket that is not there is not told to refuse")
	}
	u, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if Refused(ctx, "unix:"+socket) {
		t.Error("a socket that listens is told to refuse")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if Refused(ended, l.Addr().String()) {
		t.Error("what could not be asked is told to refuse")
	}
}
