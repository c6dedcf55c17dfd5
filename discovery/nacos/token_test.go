package nacos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func tokenOf(value string, seconds string) string {
	return `{"accessToken":"` + value + `","tokenTtl":` + seconds + `,"globalAdmin":true,"username":"me"}`
}

func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	story(t, Options{Username: "me", Password: "geheim"}, func(t *testing.T, f *fake) {
		f.answer(login, 200, tokenOf("one", "100"))
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
		w := f.watch(Query{Service: "orders", Poll: time.Second})
		second := f.watch(Query{Service: "stock", Poll: time.Second})
		w.wantSet("10.0.0.1:80*1")
		second.wantSet("10.0.0.1:80*1")
		if got := f.request().Header.Get("Authorization"); got != "Bearer one" || strings.Contains(f.request().URL.RawQuery, "one") {
			t.Errorf("Authorization %q, %s", got, f.request().URL)
		}
		pass(89 * time.Second)
		if n := f.count("n1:8848 " + login); n != 1 {
			t.Errorf("%d logins in 89 s", n)
		}
		f.answer(login, 200, tokenOf("two", "100"))
		pass(5 * time.Second)
		if got := f.request().Header.Get("Authorization"); got != "Bearer two" {
			t.Errorf("Authorization %q after 94 of 100 s", got)
		}
		pass(time.Hour)
		if n := f.count("n1:8848 " + login); n < 38 || n > 43 {
			t.Errorf("%d logins in an hour, each for 90 s", n)
		}
		for len(w.updates) > 0 {
			if u := <-w.updates; u.Err != nil {
				t.Fatal(u.Err)
			}
		}
	})
}

func TestRefusedTokenIsReplacedAtOnce(t *testing.T) {
	story(t, Options{Username: "me", Password: "geheim"}, func(t *testing.T, f *fake) {
		f.answer(login, 200, tokenOf("one", "18000"))
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
		w := f.watch(Query{Service: "orders", Poll: 10 * time.Second})
		w.wantSet("10.0.0.1:80*1")
		f.answer(listV2, 403, `{"timestamp":"2026-01-02T03:04:05.678+00:00","status":403,"error":"Forbidden","message":"token expired!","path":"/nacos/v2/ns/instance/list"}`)
		err := w.wantErr(`server at n1:8848 does not let "me" read services (403: token expired!); give one of its roles read access`)
		if n := f.count("n1:8848 " + login); n != 2 {
			t.Errorf("%d logins, want one more after the refusal", n)
		}
		if strings.Contains(err.Error(), "one") && strings.Contains(err.Error(), "Bearer") {
			t.Errorf("the token is told: %v", err)
		}
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
		w.wantSet("10.0.0.1:80*1")
	})
}

func TestPasswordFileIsReadAgainWhenItIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	story(t, Options{Username: "me", PasswordFile: path}, func(t *testing.T, f *fake) {
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
		f.answer(login, 403, `{"timestamp":"2026-01-02T03:04:05.678+00:00","status":403,"error":"Forbidden","message":"unknown user!","path":"/nacos/v1/auth/login"}`)
		w := f.watch(Query{Service: "orders"})
		w.wantErr("server at n1:8848 is not asked: password file: open " + path + ": no such file or directory; create it or correct nacos.password_file")
		put(t, path, "\n")
		pass(5 * time.Second)
		w.drain()
		w.wantErr("password file " + path + " is empty; write the password into it")
		put(t, path, "falsch\n")
		pass(5 * time.Second)
		w.drain()
		err := w.wantErr(`does not let "me" log in (403: unknown user!); correct nacos.username, or the password in ` + path)
		if strings.Contains(err.Error(), "falsch") {
			t.Errorf("the password is told: %v", err)
		}
		put(t, path, "geheim\n")
		f.answer(login, 200, tokenOf("one", "18000"))
		pass(5 * time.Second)
		w.drain()
		w.wantSet("10.0.0.1:80*1")
	})
}

func TestWrongPasswordIsNotTriedByEachServiceForItself(t *testing.T) {
	story(t, Options{Username: "me", Password: "falsch", Addresses: []string{"n1:8848", "n2:8848"}}, func(t *testing.T, f *fake) {
		f.answer(login, 403, "unknown user!")
		for range 50 {
			f.watch(Query{Service: "orders"})
		}
		pass(time.Minute)
		if n := f.count("n1:8848 "+login) + f.count("n2:8848 "+login); n < 50 || n > 61 {
			t.Errorf("%d logins in a minute", n)
		}
	})
}

func TestLoginGoesWhereTheServerHasIt(t *testing.T) {
	story(t, Options{Username: "me", Password: "geheim", Addresses: []string{"n1:8848", "n2:8848"}}, func(t *testing.T, f *fake) {
		f.setDown("n1:8848", true)
		f.answer(loginV3, 200, tokenOf("three", "18000"))
		f.answer(listV3, 200, enveloped("["+hostAt("10.0.0.1")+"]"))
		f.watch(Query{Service: "orders"}).wantSet("10.0.0.1:80*1")
		if got := f.request().Header.Get("Authorization"); got != "Bearer three" {
			t.Errorf("Authorization %q", got)
		}
	})
	for body, want := range map[string]string{
		"":                            "cannot be logged in to: that is no answer of Nacos to a login; check what listens there",
		`{"accessToken":""}`:          "cannot be logged in to",
		tokenOf(`a\r\nHost: b`, "10"): "cannot be logged in to",
	} {
		story(t, Options{Username: "me", Password: "geheim"}, func(t *testing.T, f *fake) {
			f.answer(login, 200, body)
			f.watch(Query{Service: "orders"}).wantErr(want)
		})
	}
	story(t, Options{Username: "me", Password: "geheim"}, func(t *testing.T, f *fake) {
		f.answer(login, 200, tokenOf("one", "-5"))
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
		f.watch(Query{Service: "orders", Poll: 100 * time.Millisecond})
		pass(time.Minute)
		if n := f.count("n1:8848 " + login); n < 30 || n > 70 {
			t.Errorf("%d logins in a minute for a token without time", n)
		}
	})
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
