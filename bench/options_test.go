package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestOptionsThatCannotBeMet(t *testing.T) {
	for args, want := range map[string]string{
		"-measure http,udp":                 `"udp" is none of`,
		"-proxies envoy":                    `"envoy" is none of`,
		"-proxies nginx,nginx":              "named twice",
		"-proxies baseline":                 "needs -baseline",
		"-connections 8,0":                  "not a positive number",
		"-duration 1500ms":                  "whole seconds",
		"-rounds 0":                         "must be positive",
		"-proxy-core 0 -load-core 0":        "a core each",
		"-proxy-core 0 -load-core 1000000":  "may use",
		"-proxies ,":                        "nothing to measure",
		"-bulk-bytes 3 -bulk-connections 4": "less than a byte",
		"sidecar":                           "unexpected argument",
	} {
		_, err := parseOptions(strings.Fields(args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", args, err, want)
		}
	}
}

func TestBaselineTakesItsTurnAfterSidecar(t *testing.T) {
	for _, c := range []struct{ before, after []string }{
		{[]string{nameSidecar, nameNginx}, []string{nameSidecar, nameBaseline, nameNginx}},
		{[]string{nameNginx}, []string{nameBaseline, nameNginx}},
	} {
		if got := insertBaseline(c.before); !slices.Equal(got, c.after) {
			t.Errorf("got %v, want %v", got, c.after)
		}
	}
}
