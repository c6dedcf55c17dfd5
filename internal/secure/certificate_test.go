package secure

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

func TestACertificateIsDueInTimeForItsLife(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		life, left, within time.Duration
		want               bool
	}{
		{365 * day, 31 * day, 30 * day, false}, {365 * day, 30 * day, 30 * day, false}, {365 * day, 30*day - 1, 30 * day, true},
		{365 * day, -day, 30 * day, true}, {90 * day, 29 * day, 30 * day, true}, {90 * day, 8 * day, 7 * day, false}, {90 * day, 6 * day, 7 * day, true},
		// Made for three days, and renewed every day or two.
		{3 * day, 2 * day, 7 * day, false}, {3 * day, day, 30 * day, false}, {3 * day, day - 1, 30 * day, true}, {3 * day, day - 1, 7 * day, true},
		{time.Hour, -1, 7 * day, true},
	} {
		one := Certificate{NotBefore: now.Add(c.left - c.life), NotAfter: now.Add(c.left)}
		if got := one.Due(now, c.within); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestACertificateIsCalledByItsNameOrSubject(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	for want, w := range map[string]wish{
		"a.example": {names: []string{"a.example", "b.example"}, common: "c"}, "c": {common: "c"}, "spiffe://d/e": {names: []string{"spiffe://d/e"}},
	} {
		made, err := readPair(files(t, dir, "a", ca.issue(w)))
		got := made.described
		if err != nil || got.Name() != want {
			t.Errorf("%q, %v, want %q", got.Name(), err, want)
		}
	}
	if c := (Certificate{Subject: "O=ours"}); c.Name() != "O=ours" {
		t.Errorf("%q", c.Name())
	}
}

// reminders are the certificates that were told of, and when.
type reminders struct {
	sync.Mutex
	at []string
}

func (r *reminders) told(start time.Time) func(Certificate) {
	return func(c Certificate) {
		r.Lock()
		defer r.Unlock()
		r.at = append(r.at, fmt.Sprintf("%s %v", c.File, time.Since(start).Round(time.Hour)))
	}
}

func (r *reminders) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.Lock()
	defer r.Unlock()
	if !slices.Equal(r.at, want) {
		t.Errorf("told %q, want %q", r.at, want)
	}
}

func TestWhatExpiresIsToldOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		made := func(file string, left time.Duration) Certificate {
			return Certificate{File: file, NotBefore: start.Add(-200 * day), NotAfter: start.Add(left)}
		}
		var r reminders
		w := watch{dueTold: r.told(start)} // without files a check costs nothing
		w.now.Certificates = []Certificate{made("late", 7*day+time.Hour), made("now", time.Hour), made("fine", 100*day)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.run(ctx) }()
		r.want(t, "now 0s")
		time.Sleep(2 * time.Hour)
		r.want(t, "now 0s", "late 1h0m0s")
		time.Sleep(24 * time.Hour)
		r.want(t, "now 0s", "late 1h0m0s", "now 24h0m0s", "late 25h0m0s")
		cancel()
		<-done
	})
}

func TestARenewedCertificateIsNotToldAnyMore(t *testing.T) {
	now := time.Now()
	var r reminders
	w := watch{dueTold: r.told(now)}
	short, long := Certificate{File: "a", NotBefore: now.Add(-90 * day), NotAfter: now.Add(day)}, Certificate{File: "a", NotBefore: now, NotAfter: now.Add(90 * day)}
	for i, c := range []Certificate{short, short, long, short, short} {
		w.now.Certificates = []Certificate{c}
		w.remind(now.Add(time.Duration(i) * time.Hour))
	}
	if len(r.at) != 2 {
		t.Errorf("told %d times, want 2: when it was due, and when it was again", len(r.at))
	}
}

func TestStatusTellsWhatHasBecomeOfTheFiles(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	renew := func(name string) (string, string) {
		return files(t, dir, "a", ca.issue(wish{names: []string{name}}))
	}
	certFile, keyFile := renew("first.example")
	term, err := NewTermination(TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}})
	if err != nil {
		t.Fatal(err)
	}
	orig, err := NewOrigination(OriginationOptions{CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	check := func(checks int, name, problem string, reloads, failures uint64) {
		t.Helper()
		for range checks {
			term.watch.check()
			orig.watch.check()
		}
		for side, st := range map[string]Status{"listener": term.Status(), "endpoints": orig.Status()} {
			if len(st.Certificates) != 1 || st.Certificates[0].Name() != name || st.Certificates[0].File != certFile ||
				st.Problem != problem || st.Reloads != reloads || st.Failures != failures {
				t.Errorf("%s: %+v", side, st)
			}
		}
	}
	check(1, "first.example", "", 0, 0)
	renew("second.example")
	check(1, "second.example", "", 1, 0)
	check(2, "second.example", "", 1, 0)

	text, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	const none = "tls: failed to find any PEM data in certificate input"
	wrong := func(what string) string {
		return "secure: certificate " + certFile + " with key " + keyFile + ": " + what
	}
	put(t, certFile, []byte("nothing"))
	check(1, "second.example", "", 1, 0) // perhaps the other file is still to come
	check(3, "second.example", wrong(none), 1, 1)
	// Wrong in another way, and then as it was, before that could be told.
	os.Remove(certFile)
	check(1, "second.example", wrong(none), 1, 1)
	put(t, certFile, text)
	check(1, "second.example", "", 1, 1)

	put(t, certFile, []byte("nothing"))
	check(2, "second.example", wrong(none), 1, 2)
	renew("third.example")
	check(1, "third.example", "", 2, 2)
}
