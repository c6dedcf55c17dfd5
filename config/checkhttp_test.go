package config

import (
	"strings"
	"testing"
)

func TestChecksOfHTTP(t *testing.T) {
	const (
		hashForms   = `; allowed are client, path, header:NAME and cookie:NAME`
		headerForm  = `; want "Name: value"`
		statusForms = `; want statuses and ranges of them from 200 to 599, such as "200-299,301"`
		mediaForm   = ` is not a media type; want type/subtype, such as "application/json"`
	)
	for _, tt := range []struct{ path, text, want string }{
		{"balancer.hash_key", "client", ""},
		{"balancer.hash_key", "path", ""},
		{"balancer.hash_key", "header:X-Tenant", ""},
		{"balancer.hash_key", "cookie:session.id", ""},
		{"balancer.hash_key", "", `"" is not known` + hashForms},
		{"balancer.hash_key", "header:", `"header:" has no name` + hashForms},
		{"balancer.hash_key", "header", `"header" is not known` + hashForms + " (header:NAME)"},
		{"balancer.hash_key", "cokie:session", `"cokie:session" is not known` + hashForms + " (cookie:session)"},
		{"balancer.hash_key", "clinet", `"clinet" is not known` + hashForms + " (client)"},
		{"balancer.hash_key", "header: X-Tenant", `"header: X-Tenant": " X-Tenant" is not a name; want letters, digits and - _ without blanks`},
		{"balancer.hash_key", "cookie:a=b", `"cookie:a=b": "a=b" is not a name; want letters, digits and - _ without blanks`},
		{"balancer.hash_key", "query:id", `"query:id" is not known` + hashForms},
		{"balancer.hash_balance", "0.9", "0.9 is out of range; want 1 to 10"},
		{"balancer.panic", "1.5", "1.5 is out of range; want 0 to 1"},
		{"breaker.success_rate", "80", "80.0 is out of range; want 0 to 1"},
		{"breaker.min_requests", "4", "4 is out of range; want 5 to 1000000"},
		{"breaker.window", "999ms", `"999ms" is too short; want 1s or more`},
		{"limit.adaptive_min", "0", "0 is out of range; want 1 to 100000"},
		{"hedge.percentile", "0.49", "0.49 is out of range; want 0.5 to 0.999"},
		{"hedge.percentile", "1", "1.0 is out of range; want 0.5 to 0.999"},
		{"hedge.min_delay", "0s", `"0s" is too short; want 1ms or more`},
		{"timeout.header", "X-Timeout-Ms", ""},
		{"timeout.header", "", ""},
		{"timeout.header", "X Timeout", `"X Timeout" is not the name of a header; want letters, digits and - without blanks, such as "X-Timeout-Ms"`},
		{"timeout.header", "X-Timeout:", `"X-Timeout:" is not the name of a header; want letters, digits and - without blanks, such as "X-Timeout-Ms"`},
		{"health_check.headers", "X-Probe: sidecar,Accept:text/plain", ""},
		{"health_check.headers", "X-Probe: a,X-Probe: b", ""},
		{"health_check.headers", "X-Probe: a,X-Probe: a", `"X-Probe: a" is listed twice`},
		{"health_check.headers", "X-Probe", `"X-Probe" has no colon` + headerForm},
		{"health_check.headers", "X-Probe:  ", `"X-Probe:" has no value` + headerForm},
		{"health_check.headers", ": sidecar", `": sidecar": "" is not the name of a header` + headerForm},
		{"health_check.headers", "X Probe: sidecar", `"X Probe: sidecar": "X Probe" is not the name of a header` + headerForm},
		{"health_check.headers", "X-Probe: a\r\nb: c", `"X-Probe: a\r\nb: c" has a control character, perhaps a line break`},
		{"health_check.headers", "host: orders", `"host: orders": write health_check.host instead`},
		{"health_check.headers", "content-length: 5", `"content-length: 5": content-length is up to the sidecar; remove it`},
		{"health_check.headers", "Transfer-Encoding: chunked", `"Transfer-Encoding: chunked": Transfer-Encoding is up to the sidecar; remove it`},
		{"health_check.statuses", "200", ""},
		{"health_check.statuses", "200-299,301,404-404,599", ""},
		{"health_check.statuses", "", "is empty" + statusForms},
		{"health_check.statuses", "200 - 299, 301", ""},
		{"health_check.statuses", "2 00", `"2 00": "2 00" is neither a status nor a range` + statusForms},
		{"health_check.statuses", "200,", `"200,": "" is neither a status nor a range` + statusForms},
		{"health_check.statuses", "199", `"199": "199" is neither a status nor a range` + statusForms},
		{"health_check.statuses", "600", `"600": "600" is neither a status nor a range` + statusForms},
		{"health_check.statuses", "2xx", `"2xx": "2xx" is neither a status nor a range` + statusForms},
		{"health_check.statuses", "200-", `"200-": "200-" is neither a status nor a range` + statusForms},
		{"health_check.statuses", "200-250-299", `"200-250-299": "200-250-299" is neither a status nor a range` + statusForms},
		{"health_check.statuses", "299-200", `"299-200": "299-200" ends before it begins; write "200-299"`},
		{"health_check.body", `^\{"status":\s*"(ok|up)"`, ""},
		{"health_check.body", "(ok", `"(ok" is not a regular expression: missing closing ): "(ok"`},
		{"health_check.body", "a**", `"a**" is not a regular expression: invalid nested repetition operator: "**"`},
		{"fallback.status", "0", ""},
		{"fallback.status", "200", ""},
		{"fallback.status", "599", ""},
		{"fallback.status", "103", "103 is not a status that ends a response; want 0, or 200 to 599"},
		{"fallback.status", "1", "1 is not a status that ends a response; want 0, or 200 to 599"},
		{"fallback.status", "600", "600 is out of range; want 0 to 599"},
		{"fallback.content_type", "application/json", ""},
		{"fallback.content_type", `multipart/mixed; boundary="a b"`, ""},
		{"fallback.content_type", "", `""` + mediaForm},
		{"fallback.content_type", "json", `"json"` + mediaForm},
		{"fallback.content_type", "text/", `"text/"` + mediaForm},
		{"fallback.content_type", "text/plain; charset", `"text/plain; charset"` + mediaForm},
		{"fallback.content_type", `text/plain; a="ä"`, `"text/plain; a=\"ä\""` + mediaForm},
		{"fallback.body", "<p>\r\n\tSorry – later.\n</p>", ""},
		{"fallback.body", strings.Repeat("a", 65536), ""},
		{"fallback.body", strings.Repeat("a", 65537), "has 65537 bytes; want at most 65536"},
		{"fallback.body", "a\x00b", `"a\x00b" has a control character other than line breaks and tabs`},
		{"fallback.body", "\xff", `"\xff" is not UTF-8`},
		{"fallback.instances", "10.0.0.9:80 weight=2,10.0.0.9:80", `"10.0.0.9:80" is listed twice`},
	} {
		f := newSchema().service
		for key := range strings.SplitSeq(tt.path, ".") {
			f = f.child(key)
		}
		got := ""
		_, mistakes := f.parseText(tt.text)
		for _, m := range mistakes {
			got += m.message
			if m.suggestion != "" {
				got += " (" + m.suggestion + ")"
			}
		}
		if got != tt.want {
			t.Errorf("%s = %q\n got: %s\nwant: %s", tt.path, tt.text, got, tt.want)
		}
	}
}
