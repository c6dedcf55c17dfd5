package config

import (
	"strings"
	"testing"
)

// Header fields of probes may prove who somebody is: of these only the names are shown, anywhere.
func TestHeadersThatProveWhoSomebodyIsAreHidden(t *testing.T) {
	const text = "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:7001\"\n[service.health_check]\ntype = \"http\"\n" +
		"headers = [\"Authorization: Bearer s3cret\", \"X-Api-Key: s3cret\", \"Accept: text/plain\"]\n"
	cfg, err := Parse("config.toml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	shown := cfg.Redacted()
	if strings.Contains(shown, "s3cret") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	for _, want := range []string{"Authorization: <hidden>", "X-Api-Key: <hidden>", "Accept: text/plain"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing", want)
		}
	}
	other, err := Parse("config.toml", []byte(strings.ReplaceAll(text, "s3cret", "other")), nil)
	if err != nil {
		t.Fatal(err)
	}
	changes := Diff(cfg, other)
	if len(changes) != 1 || strings.Contains(changes[0].String(), "s3cret") || strings.Contains(changes[0].String(), "other") {
		t.Errorf("the difference is %v", changes)
	}
	if got := cfg.Services[0].HealthCheck.Headers[0]; got != "Authorization: Bearer s3cret" {
		t.Errorf("probes send %q", got)
	}
}
