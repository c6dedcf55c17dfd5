package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestRedactedLoadsAgainAsTheSame(t *testing.T) {
	cfg := load(t, `
[admin]
listen = ""
[consul]
address = "https://consul.internal"
[[service]]
name = "a"
listen = ["127.0.0.1:7001", "unix:/run/\"a\\b"]
retry = { on = [], per_try = "1m30s", budget = 1 }
[service.discovery]
source = "static"
instances = ["10.0.0.1:80 weight=2"]
[[service]]
name = "b"
listen = "127.0.0.1:7002"
[service.timeout]
idle = "90m"
request = "0s"
`)
	text := cfg.Redacted()
	again, err := Parse("redacted", []byte(text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(again, cfg) {
		t.Errorf("\n got %+v\nwant %+v\nfrom %s", again, cfg, text)
	}
	empty := load(t, "")
	if again := load(t, empty.Redacted()); !reflect.DeepEqual(again, empty) {
		t.Errorf("without services: %+v", again)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	cfg := load(t, "[consul]\ntoken = \"geheim\"")
	if string(cfg.Consul.Token) != "geheim" {
		t.Fatalf("token is %q", string(cfg.Consul.Token))
	}
	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{cfg.Redacted(), fmt.Sprint(cfg), fmt.Sprintf("%+v %#v %q", cfg, cfg, cfg.Consul.Token), string(asJSON)} {
		if strings.Contains(shown, "geheim") {
			t.Errorf("shown in %s", shown)
		}
	}
	if !strings.Contains(cfg.Redacted(), `token = "<hidden>"`) {
		t.Errorf("not marked in %s", cfg.Redacted())
	}
}
