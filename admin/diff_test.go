package admin

import (
	"errors"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestDiffSaysWhatAReloadWouldChange(t *testing.T) {
	var asked string
	s := start(t, Options{Actions: true, Diff: func(toml []byte) (Report, error) {
		asked = string(toml)
		switch asked {
		case "bad":
			return Report{}, errors.New("config.toml:1: one\nconfig.toml:2: two\x1b[2J")
		case "same":
			return Report{}, nil
		}
		return Report{Changed: []string{"log.level: info → debug"}, Restart: []string{"runtime.loops: 0 → 2"}}, nil
	}})
	c := &Client{Address: s.Address()}
	r, err := c.Diff(t.Context(), []byte("[log]\n"))
	want := Report{Changed: []string{"log.level: info → debug"}, Restart: []string{"runtime.loops: 0 → 2"}}
	if err != nil || asked != "[log]\n" || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, %v of %q", r, err, asked)
	}
	if r, err := c.Diff(t.Context(), []byte("same")); err != nil || r.Changed == nil || len(r.Changed) > 0 {
		t.Errorf("of the same: %+v, %v", r, err)
	}
	if _, err := c.Diff(t.Context(), []byte("bad")); err == nil || err.Error() != "config.toml:1: one\nconfig.toml:2: two\ufffd[2J" {
		t.Errorf("of what has mistakes: %v", err)
	}
	if _, err := c.Diff(t.Context(), make([]byte, maxConfig+1)); err == nil || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Errorf("of what is too long: %v", err)
	}
	if w := ask(Options{Diff: func([]byte) (Report, error) { return Report{}, nil }}, "POST", "/diff"); w.Code != 403 {
		t.Errorf("without its header: %d", w.Code)
	}
}

func TestOriginsAreThere(t *testing.T) {
	want := []ConfigValue{{"log.level", `"debug"`, "config.toml:2"}, {"log.format", `"json"`, "default"}}
	o := full()
	o.Origins = func() []ConfigValue { return want }
	s := start(t, o)
	c := &Client{Address: s.Address()}
	if got, err := c.Origins(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if text, err := c.Config(t.Context()); err != nil || string(text) != "[admin]\n" {
		t.Errorf("without origins: %q, %v", text, err)
	}
}

func TestWhoCannotBeReachedIsTold(t *testing.T) {
	_, err := (&Client{Address: "unix:/none/admin"}).Status(t.Context())
	var u *Unreachable
	if !errors.As(err, &u) || u.Address != "unix:/none/admin" || err.Error() != "admin: "+u.Says {
		t.Errorf("%v", err)
	}
	denied := (&Client{Address: "unix:/run/admin.sock"}).explain(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)})
	if !errors.As(denied, &u) || u.Says != "may not connect to unix:/run/admin.sock: permission denied; join the group that owns it, or ask as root" {
		t.Errorf("%v", denied)
	}
	_, err = (&Client{Address: "nonsense"}).Status(t.Context())
	var a *AddressError
	if !errors.As(err, &a) {
		t.Errorf("%v", err)
	}
}
