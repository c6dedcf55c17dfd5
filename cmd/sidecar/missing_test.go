package main

import (
	"strings"
	"testing"

	"sidecar/config"
)

func TestTheLogSaysHowManyLinesAreMissing(t *testing.T) {
	for format, want := range map[string][]string{
		"json":    {`"level":"warn"`, `"msg":"lines of this log are missing here`, `"lines":2`},
		"console": {"WARN", "lines of this log are missing here", `{"lines": 2}`},
	} {
		text := string(missingLines(config.Log{Level: "error", Format: format})(2))
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q lacks %s", format, text, w)
			}
		}
		if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
			t.Errorf("%s: not one line: %q", format, text)
		}
	}
}
