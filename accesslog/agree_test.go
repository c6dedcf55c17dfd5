package accesslog_test

import (
	"io"
	"slices"
	"testing"

	"sidecar/accesslog"
	"sidecar/config"
)

// config checks formats with a list of its own, since it imports nothing of ours.
func TestTheConfigurationKnowsTheSameVariablesAndWords(t *testing.T) {
	if got, want := config.AccessLogVariables(), accesslog.Variables(); !slices.Equal(got, want) {
		t.Errorf("config has %q\nthere are   %q", got, want)
	}
	words := []string{config.AccessLogJSON, config.AccessLogCombined, config.AccessLogStdout, config.AccessLogStderr}
	if want := []string{accesslog.JSON, accesslog.Combined, accesslog.Stdout, accesslog.Stderr}; !slices.Equal(words, want) {
		t.Errorf("config has %q", words)
	}
}

// FuzzWhatTheConfigurationTakesTheLoggerTakes, so that no valid file fails at the start.
func FuzzWhatTheConfigurationTakesTheLoggerTakes(f *testing.F) {
	for _, s := range []string{"json", "combined", "", "$status$$", "${status", "${}", "$ä", "$", "$Status", "a$$$$b$method", "${status}x$x", "$statu", "\x7f$status", "\u0085$status"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, format string) {
		_, refused := config.Parse("", nil, []string{"SIDECAR_ACCESS_LOG_FORMAT=" + format})
		if format == "" {
			return // json for the logger, a mistake in a file
		}
		l, err := accesslog.New(accesslog.Options{Output: io.Discard, Format: format})
		if err == nil {
			if err := l.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if refused == nil && err != nil {
			t.Errorf("%q: only the logger refuses it: %v", format, err)
		}
	})
}
