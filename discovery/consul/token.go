package consul

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"
)

// A token is the ACL token that queries carry, from a file when one is named. It is for
// concurrent use.
type token struct {
	path   string // of the file, or empty
	static string // used when path is empty
	origin string // where static comes from, for errors

	mu      sync.Mutex
	seen    os.FileInfo // the file as it was last read; nil: never
	suspect bool        // Consul has refused value: the file is read although it looks unchanged
	value   string      // what was in it; empty: nothing usable so far
	version uint64      // how many values there were
	reason  error       // why the last reading failed, or nil
}

func newToken(o Options) *token {
	t := &token{path: o.TokenFile, static: o.Token, origin: "the token in consul.token"}
	if t.path == "" && t.static == "" {
		t.path = os.Getenv(api.HTTPTokenFileEnvName)
		t.static, t.origin = os.Getenv(api.HTTPTokenEnvName), "the token in "+api.HTTPTokenEnvName
	}
	if t.path == "" && t.static == "" {
		t.origin = "a query without a token (set consul.token_file)"
	}
	return t
}

// current returns the token for the next query, and reads the file if it has changed. While
// the file cannot be read the last token still stands: whoever replaces it may be half-way
// through. An empty file is an error rather than the anonymous token, which sees only part
// of the catalog and is not told so.
func (t *token) current() (string, error) {
	if t.path == "" {
		return t.static, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason = t.read()
	if t.value == "" {
		return "", t.reason
	}
	return t.value, nil
}

// look reads the file if it has changed, and returns the version of its value: another one
// than before tells that there is a new token. A token that is in no file never changes.
func (t *token) look() uint64 {
	if t.path == "" {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason = t.read()
	return t.version
}

// read takes in the file's content unless the file is the one that was read last.
func (t *token) read() error {
	info, err := os.Stat(t.path)
	if err != nil {
		return fmt.Errorf("token file: %w; create it or correct consul.token_file", err)
	}
	if t.seen != nil && !t.suspect && os.SameFile(info, t.seen) &&
		info.Size() == t.seen.Size() && info.ModTime().Equal(t.seen.ModTime()) {
		return t.reason
	}
	data, err := os.ReadFile(t.path)
	if err != nil {
		return fmt.Errorf("token file: %w; let the sidecar's user read it", err)
	}
	value := strings.TrimSpace(string(data))
	switch {
	case value == "":
		err = fmt.Errorf("token file %s is empty; write the ACL token into it", t.path)
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
		// Else net/http refuses the header, with an error that names no file.
		err = fmt.Errorf("token file %s holds more than one word; write only the ACL token into it", t.path)
	case value != t.value:
		t.value, t.suspect = value, false
		t.version++
	}
	t.seen = info
	return err
}

// refused tells that Consul does not accept value. The file is read again at every look until
// it holds another one, even if it looks unchanged: a new token may have the old one's length
// and time.
func (t *token) refused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.suspect = true
}

// where says for an error's reader which token was used and what is wrong with its source.
func (t *token) where() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.path == "":
		return t.origin
	case t.reason != nil:
		return fmt.Sprintf("the token once read from %s (%v)", t.path, t.reason)
	}
	return "the token in " + t.path
}
