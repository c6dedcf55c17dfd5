package consul

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// put replaces the file at once, as whoever rotates a token should.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestTokenFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	tok := newToken(Options{TokenFile: path, Token: "unused"})
	want := func(value, complaint string) {
		t.Helper()
		got, err := tok.current()
		if got != value {
			t.Errorf("token %q, want %q", got, value)
		}
		if complaint == "" && err != nil || complaint != "" && (err == nil || !strings.Contains(err.Error(), complaint)) {
			t.Errorf("error %v, want %q", err, complaint)
		}
	}
	want("", "no such file or directory; create it or correct consul.token_file")
	put(t, path, "  \n")
	want("", "is empty; write the ACL token into it")
	want("", "is empty")
	put(t, path, "two words")
	want("", "more than one word")
	put(t, path, "first\n")
	want("first", "")
	put(t, path, "second\n")
	want("second", "")
	// While it is replaced by somebody who takes two steps, the last one stands.
	os.Remove(path)
	want("second", "")
	if where := tok.where(); !strings.Contains(where, "once read from "+path) {
		t.Errorf("where: %s", where)
	}
	put(t, path, "")
	want("second", "")
	put(t, path, "third")
	want("third", "")
	if where := tok.where(); where != "the token in "+path {
		t.Errorf("where: %s", where)
	}
}

func TestTokenFileThatLooksUnchangedIsReadAgainAfterARefusal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	at := time.Now().Add(-time.Hour)
	write := func(text string) {
		// Into the same file, of the same size and time.
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	tok := newToken(Options{TokenFile: path})
	write("one")
	if got, err := tok.current(); got != "one" || err != nil {
		t.Fatalf("token %q, %v", got, err)
	}
	write("two")
	if got, _ := tok.current(); got != "one" {
		t.Fatalf("token %q: the file looks the same", got)
	}
	tok.refused()
	if got, _ := tok.current(); got != "two" {
		t.Fatalf("token %q after a refusal, want what is in the file", got)
	}
}

func TestTokenComesFromTheEnvironmentWhenNothingElseIsSaid(t *testing.T) {
	t.Setenv("CONSUL_HTTP_TOKEN", "env")
	if got, _ := newToken(Options{}).current(); got != "env" {
		t.Errorf("token %q", got)
	}
	if got, _ := newToken(Options{Token: "own"}).current(); got != "own" {
		t.Errorf("token %q", got)
	}
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "file")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", path)
	if got, _ := newToken(Options{}).current(); got != "file" {
		t.Errorf("token %q", got)
	}
}

func TestRefusedTokenIsReplacedByWhatTheFileHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	story(t, Options{TokenFile: path}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		if err := w.wantErr().Err; !strings.HasPrefix(err.Error(), `consul: watch "orders": token file: `) {
			t.Errorf("error %v", err)
		}
		put(t, path, "old")
		wantToken(t, r, "old").with(5, entry("a"))
		for w.next(time.Second).Err != nil {
		}
		q := wantToken(t, r, "old")
		put(t, path, "new")
		q.fail(403, "ACL not found")
		if err := w.wantErr().Err; !strings.Contains(err.Error(), "does not know the token in "+path) {
			t.Errorf("error %v", err)
		}
		refused := time.Now()
		wantToken(t, r, "new").with(5, entry("a"))
		w.wantIDs("n1/a")
		if after := time.Since(refused); after > pauseFirst {
			t.Errorf("asked with the new token after %v", after)
		}
	})
}

func TestTokenFileOfTheEnvironmentNeedNotExistYet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", path)
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		w.wantErr()
		put(t, path, "late")
		wantToken(t, r, "late")
	})
	own := path + ".own"
	put(t, own, "own")
	story(t, Options{TokenFile: own}, func(t *testing.T, r *registry) {
		r.watch(Query{Service: "orders"})
		wantToken(t, r, "own")
	})
}

func wantToken(t *testing.T, r *registry, want string) *query {
	t.Helper()
	q := r.query(time.Minute)
	if q == nil {
		t.Fatal("nobody asks")
	}
	if got := q.Header.Get("X-Consul-Token"); got != want {
		t.Fatalf("token %q, want %q", got, want)
	}
	return q
}
