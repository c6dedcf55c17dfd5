package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// loginPause is how long a refused login stands for all services: they would else all try the
// same again at once, and servers count that.
const loginPause = time.Second

// loginPaths are where one logs in; the second is all that the servers of v3 may have.
var loginPaths = []string{"/v1/auth/login", "/v3/auth/user/login"}

// A token is what a login brings, for all servers, since they have one secret. It is for
// concurrent use; one login is made at a time.
type token struct {
	client *Client
	busy   chan struct{} // held by who reads or writes what follows

	value   string
	renew   time.Time // when it is replaced, well before it ends
	failure error     // that the last login was refused; nil: it was not
	failed  time.Time // when
}

// loginError is a login that has failed.
type loginError struct {
	error
	refused bool // by the server, because of the name or the password, or nothing was sent at all
}

func (e loginError) Unwrap() error { return e.error }

// current returns the token for the next request, which is empty without a user.
func (t *token) current(ctx context.Context, s server) (string, error) {
	if t.client.options.Username == "" {
		return "", nil
	}
	select {
	case t.busy <- struct{}{}:
		defer func() { <-t.busy }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	now := time.Now()
	switch {
	case t.value != "" && now.Before(t.renew):
		return t.value, nil
	case t.failure != nil && now.Sub(t.failed) < loginPause:
		return "", t.failure
	}
	value, ttl, err := t.login(ctx, s)
	if err != nil {
		var failure loginError
		if errors.As(err, &failure) && failure.refused { // others have the same password
			t.failure, t.failed = err, now
		}
		return "", err
	}
	// A tenth of its time is left then, as Nacos' own clients do it.
	t.value, t.renew, t.failure = value, now.Add(ttl-ttl/10), nil
	return value, nil
}

// refused tells that Nacos does not accept value: it was restarted with another secret, or
// the user is gone.
func (t *token) refused(ctx context.Context, value string) {
	select {
	case t.busy <- struct{}{}:
		defer func() { <-t.busy }()
	case <-ctx.Done():
		return
	}
	if t.value == value {
		t.value = ""
	}
}

func (t *token) login(ctx context.Context, s server) (value string, ttl time.Duration, err error) {
	password, err := t.password()
	if err != nil {
		return "", 0, loginError{err, true}
	}
	form := url.Values{"username": {t.client.options.Username}, "password": {password}}.Encode()
	var body []byte
	for _, path := range loginPaths {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, strings.NewReader(form))
		if err != nil {
			return "", 0, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		body, err = t.client.do(req)
		var status statusError
		if errors.As(err, &status) {
			if status.otherVersion() && path == loginPaths[0] {
				continue
			}
			// A wrong password is 403 in newer servers, 401 or 500 in others.
			return "", 0, loginError{err, status.status < 500 || strings.Contains(strings.ToLower(status.text), "user")}
		}
		if err != nil {
			return "", 0, err
		}
		break
	}
	var answer struct {
		AccessToken string  `json:"accessToken"`
		TTL         float64 `json:"tokenTtl"` // seconds
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" || strings.ContainsFunc(answer.AccessToken, notInHeader) {
		return "", 0, loginError{fmt.Errorf("%w to a login", errMalformed), false}
	}
	// Not less than a second, lest there be a login for every request; and a year is long enough.
	ttl = time.Duration(min(max(answer.TTL, 1), 365*24*3600) * float64(time.Second))
	return answer.AccessToken, ttl, nil
}

func notInHeader(r rune) bool { return r <= ' ' || r > '~' }

func (t *token) password() (string, error) {
	path := t.client.options.PasswordFile
	if path == "" {
		return t.client.options.Password, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("password file: %w; create it or correct nacos.password_file", err)
	}
	password := strings.TrimRight(string(data), "\r\n")
	if password == "" {
		return "", fmt.Errorf("password file %s is empty; write the password into it", path)
	}
	return password, nil
}
