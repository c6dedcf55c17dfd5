package e2e

import (
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecar/admin"
)

func TestTheDemoServesAndSumsUp(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(binary(), "demo", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--every", "50ms")
	cmd.Env = environment()
	begin := time.Now()
	p := launch(t, cmd)
	within(t, patience, "it says what runs", func() bool { return strings.Contains(p.out.String(), "Ctrl-C ends it") })
	greeting := p.out.String()
	find := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(greeting)
		if m == nil {
			t.Fatalf("no %s in:\n%s", pattern, greeting)
		}
		return m[1]
	}
	web, raw, at := find(`demo +http://(\S+)`), find(`demo-tcp +(\S+)`), find(`sidecar status --admin (\S+)`)
	for _, line := range []string{"curl -i http://" + web + "/", "wrk -c 32 -d 10s http://" + web + "/"} {
		if !strings.Contains(greeting, line) {
			t.Errorf("there is no line to paste: %s", line)
		}
	}

	within(t, patience, "it is ready", func() bool {
		r, err := (&admin.Client{Address: at}).Ready(t.Context())
		return err == nil && r.Ready
	})
	w := connect(t, web)
	for range 40 {
		if a, err := w.get("/"); err != nil || a.status != http.StatusOK && a.status != http.StatusInternalServerError {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	t.Logf("40 requests are served %v after the start", time.Since(begin).Round(time.Millisecond))
	if a := get(t, raw, "/"); a.status != http.StatusOK && a.status != http.StatusInternalServerError {
		t.Errorf("over TCP: %+v", a)
	}
	d, err := (&admin.Client{Address: at}).Status(t.Context())
	if err != nil || len(d.Services) != 2 || d.Services[0].Usable != 3 && d.Services[0].Ejected == 0 {
		t.Errorf("status: %+v, %v", d, err)
	}
	within(t, patience, "it sums up who got what", func() bool {
		s := p.out.String()[len(greeting):]
		return strings.Contains(s, " demo: ") && strings.Contains(s, " demo-tcp: ") && strings.Contains(s, "is slow")
	})
	w.Close()
	p.signal(syscall.SIGINT)
	if end := p.wait(); end.ExitCode() != 0 || !strings.Contains(p.out.String(), "the demo has ended") || p.err.String() != "" {
		t.Errorf("%v\n%s%s", end, &p.out, &p.err)
	}
}

func TestTheDemoNamesAPortThatIsInUseAndItsFlag(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	_, port, _ := net.SplitHostPort(taken)
	for _, flag := range []string{"--http", "--tcp", "--admin"} {
		args := []string{"demo", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0", "--admin", "127.0.0.1:0", flag, taken}
		r := command(t, "", nil, args...)
		if r.code != 1 || r.out != "" {
			t.Errorf("%s: %+v", flag, r)
		}
		wantLines(t, r.stderr, "sidecar: … "+port+" … in use … "+flag+" 127.0.0.1:")
		r = command(t, "", nil, append(args[:len(args)-1], "nonsense")...)
		if r.code != 2 || r.out != "" {
			t.Errorf("%s: %+v", flag, r)
		}
		wantLines(t, r.stderr, "sidecar: "+flag+` "nonsense": … has no port`)
	}
}
