package accesslog

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestALineOfJSONHasEverythingInOrder(t *testing.T) {
	want := `{"time":"2026-01-31T12:00:00.007Z","service":"orders","client":"192.0.2.7:51234","method":"GET",` +
		`"path":"/v1/orders","query":"id=7","protocol":"HTTP/1.1","host":"orders.internal","status":200,"grpc_status":"5","bytes_in":120,` +
		`"bytes_out":5320,"duration":0.023456,"first_byte":0.021000,"attempts":[` +
		`{"endpoint":"10.0.0.1:8080","outcome":"connect-failed","status":0,"duration":0.001500},` +
		`{"endpoint":"10.0.0.2:8080","outcome":"ok","status":200,"duration":0.020000}],"flag":"ok",` +
		`"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","tunnel":true,"referer":"https://shop.example/","user_agent":"curl/8.5.0 (x86_64)"}`
	for _, format := range []string{"", JSON} {
		if got := line(t, format, full()); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

func TestALineOfJSONOmitsWhatWasNotThere(t *testing.T) {
	r := &Record{Time: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Service: "orders", Status: 400, Flag: "bad-request"}
	want := `{"time":"2026-01-31T12:00:00.000Z","service":"orders","client":"","method":"","path":"","protocol":"","host":"",` +
		`"status":400,"bytes_in":0,"bytes_out":0,"duration":0.000000,"attempts":[],"flag":"bad-request"}`
	if got := line(t, JSON, r); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestALineOfTheCombinedFormat(t *testing.T) {
	for want, r := range map[string]*Record{
		`192.0.2.7 - - [31/Jan/2026:12:00:00 +0000] "GET /v1/orders?id=7 HTTP/1.1" 200 5120 "https://shop.example/" "curl/8.5.0 (x86_64)"`: full(),
		`- - - [31/Jan/2026:12:00:00 +0000] "-" 000 0 "-" "-"`:                                                                             {Time: full().Time},
	} {
		if got := line(t, Combined, r); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	}
}

func TestEveryVariable(t *testing.T) {
	wants := map[string]string{
		"time": "2026-01-31T12:00:00.007Z", "time_clf": "31/Jan/2026:12:00:00 +0000", "service": "orders",
		"client": "192.0.2.7:51234", "client_ip": "192.0.2.7", "method": "GET", "target": "/v1/orders?id=7",
		"path": "/v1/orders", "query": "id=7", "protocol": "HTTP/1.1", "request": "GET /v1/orders?id=7 HTTP/1.1",
		"host": "orders.internal", "status": "200", "grpc_status": "5", "bytes_in": "120", "bytes_out": "5320", "body_out": "5120",
		"duration": "0.023456", "first_byte": "0.021000", "tries": "2", "endpoint": "10.0.0.2:8080",
		"attempts": "10.0.0.1:8080=connect-failed:0:0.001500,10.0.0.2:8080=ok:200:0.020000",
		"flag":     "ok", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "tunnel": "true",
		"referer": "https://shop.example/", "user_agent": `curl/8.5.0\x20(x86_64)`,
	}
	without := map[string]string{
		"time": "2026-01-31T12:00:00.007Z", "time_clf": "31/Jan/2026:12:00:00 +0000", "status": "000", "bytes_in": "0",
		"bytes_out": "0", "body_out": "0", "duration": "0.000000", "tries": "0", "tunnel": "false",
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Variables() {
		want, ok := wants[name]
		if !ok {
			t.Errorf("%s has no test", name)
		}
		if got := line(t, "<${"+name+"}>", full()); got != "<"+want+">" {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		empty := without[name]
		if empty == "" {
			empty = "-"
		}
		if got := line(t, "$"+name, &Record{Time: full().Time}); got != empty {
			t.Errorf("%s of an empty record: %s, want %s", name, got, empty)
		}
		if !bytes.Contains(doc, []byte("\n//	"+name+" ")) {
			t.Errorf("%s is not documented", name)
		}
	}
}

// What a line of json has is what the package's comment marks with *, and is called as it is
// in a format.
func TestKeysOfJSONAreTheVariablesThatTheDocumentationMarks(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for row := range strings.Lines(string(doc)) {
		if f := strings.Fields(row); strings.HasPrefix(row, "//	") && len(f) > 2 && f[2] == "*" {
			want = append(want, strings.TrimPrefix(f[1], "//"))
		}
	}
	object := map[string]any{}
	if err := json.Unmarshal([]byte(line(t, JSON, full())), &object); err != nil {
		t.Fatal(err)
	}
	var got []string
	for key := range object {
		got = append(got, key)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("json has %q\ndocumented are %q", got, want)
	}
}

func TestFormatsOfTextAndVariables(t *testing.T) {
	for format, want := range map[string]string{
		"$method $path":                  "GET /v1/orders",
		"${method}${status}x":            "GET200x",
		"$$$method$$":                    "$GET$",
		"$method":                        "GET",
		"$query$host":                    "id=7orders.internal",
		"a$status-$flag.":                "a200-ok.",
		"ä $status":                      "ä 200",
		`ua="$user_agent" b=$user_agent`: `ua="curl/8.5.0 (x86_64)" b=curl/8.5.0\x20(x86_64)`,
		"$target|$flag":                  "/v1/orders?id=7|ok",
		"$target?$flag":                  `/v1/orders\x3fid=7?ok`,
		`"$target $flag"`:                `"/v1/orders?id=7 ok"`,
		`"$user_agent $flag"`:            `"curl/8.5.0\x20(x86_64) ok"`,
		"$user_agent;$flag":              `curl/8.5.0\x20(x86_64);ok`,
		`$request`:                       "GET /v1/orders?id=7 HTTP/1.1",
		`"$user_agent"`:                  `"curl/8.5.0 (x86_64)"`,
	} {
		if got := line(t, format, full()); got != want {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
	}
}

func TestFormatsThatAreRefused(t *testing.T) {
	for format, want := range map[string]string{
		"$metod $status":              `unknown variable $metod; did you mean $method?`,
		"${user-agent}":               `unknown variable $user-agent; did you mean $user_agent?`,
		"$statuss":                    `unknown variable $statuss; did you mean $status?`,
		"$upstream_weight":            `unknown variable $upstream_weight`,
		"${}":                         `unknown variable $`,
		"$" + strings.Repeat("x", 99): `unknown variable $` + strings.Repeat("x", 99),
		"$method ${status":            `"${" without "}"`,
		"100$ $status":                `"$" without a name; write $$ for a dollar`,
		"$status $":                   `"$" without a name; write $$ for a dollar`,
		"jsn":                         `"jsn" has no variable; want json, combined, or a line such as "$method $target $status"`,
		"$$status":                    `"$$status" has no variable; want json, combined, or a line such as "$method $target $status"`,
		"$status\n$method":            `"$status\n$method" has a control character`,
		"$status\x7f":                 `"$status\x7f" has a control character`,
		"$status\u0085":               `"$status\u0085" has a control character`,
		"$Status":                     `"$" without a name; write $$ for a dollar`,
	} {
		_, err := New(Options{Output: &sink{}, Format: format})
		if err == nil {
			t.Errorf("%q is taken", format)
			continue
		}
		if got := strings.TrimPrefix(err.Error(), "access log format: "); got != want {
			t.Errorf("%q: %s\nwant %s", format, got, want)
		}
	}
}

func TestThePathOfATarget(t *testing.T) {
	for target, want := range map[string]string{
		"/a?b":              "/a ? b",
		"/a":                "/a ? -",
		"/a?":               "/a ? -",
		"/a?b?c":            "/a ? b\\x3fc",
		"*":                 "* ? -",
		"http://h:80/a?b":   "/a ? b",
		"http://h":          "/ ? -",
		"http://h?b":        "/ ? b",
		"/http://h/a":       "/http://h/a ? -",
		"example.com:443":   "example.com:443 ? -",
		"":                  "- ? -",
		"/a?u=http://x/y/z": "/a ? u=http://x/y/z",
	} {
		r := &Record{Target: []byte(target)}
		// The mark behind the query is the one that is escaped in it.
		if got := line(t, "$path ? $query?", r); got != want+"?" {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func TestAddressesOfClients(t *testing.T) {
	for address, want := range map[string]string{
		"[::ffff:192.0.2.7]:80": "192.0.2.7:80 192.0.2.7",
		"[2001:db8::1]:80":      "[2001:db8::1]:80 2001:db8::1",
		"[fe80::1%eth0]:80":     "[fe80::1]:80 fe80::1",
	} {
		if got := line(t, "$client $client_ip", &Record{Client: netip.MustParseAddrPort(address)}); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	if got := line(t, "$client $client_ip", &Record{}); got != "- -" {
		t.Errorf("of a Unix socket: %s", got)
	}
}

func TestTimesAndDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000000", time.Nanosecond: "0.000000", time.Microsecond: "0.000001", 999999 * time.Microsecond: "0.999999",
		time.Second: "1.000000", 90*time.Minute + 123456*time.Microsecond: "5400.123456", -time.Second: "0.000000",
	} {
		if got := line(t, "$duration", &Record{Duration: d}); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}

	var out sink
	l := start(t, Options{Output: &out, Format: "$time $time_clf"})
	l.zone = time.FixedZone("", 19800)
	base := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC)
	for _, d := range []time.Duration{0, 999 * time.Millisecond, time.Second, time.Millisecond} {
		l.Shard(0).Log(&Record{Time: base.Add(d)})
	}
	closeIt(t, l)
	const want = `2026-01-31T23:59:59.000Z 01/Feb/2026:05:29:59 +0530
2026-01-31T23:59:59.999Z 01/Feb/2026:05:29:59 +0530
2026-02-01T00:00:00.000Z 01/Feb/2026:05:30:00 +0530
2026-01-31T23:59:59.001Z 01/Feb/2026:05:29:59 +0530
`
	if got := out.String(); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestARecordWithoutATimeBeganItsDurationAgo(t *testing.T) {
	before := time.Now()
	got, err := time.Parse(time.RFC3339, line(t, "$time", &Record{Duration: time.Hour}))
	if err != nil {
		t.Fatal(err)
	}
	if ago := before.Sub(got); ago > time.Hour+time.Second || ago < time.Hour-patience {
		t.Errorf("%v ago", ago)
	}
}

func TestMoreAttemptsThanAreListed(t *testing.T) {
	a := &Attempts{}
	for i := range 9 {
		a.Add(Attempt{Endpoint: string(rune('a' + i)), Outcome: "reset"})
	}
	r := &Record{Attempts: a}
	if got, want := line(t, "$tries $endpoint $attempts", r), "9 i a=reset:0:0.000000,b=reset:0:0.000000,c=reset:0:0.000000,d=reset:0:0.000000,e=reset:0:0.000000,i=reset:0:0.000000,+3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := line(t, JSON, r); !strings.Contains(got, `],"attempts_omitted":3,`) {
		t.Error(got)
	}
	if a.Reset(); a.Count() != 0 || !strings.Contains(line(t, JSON, r), `"attempts":[]`) {
		t.Error("Reset has left some")
	}
}
