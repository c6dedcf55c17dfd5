package config

import (
	"reflect"
	"strings"
	"testing"
)

// complete is a loader to which every key and every word is known already.
func complete() *loader {
	l := newLoader("config.toml")
	eachField(l.schema.root, func(f *field) { f.awaited, f.later = false, nil })
	return l
}

// eachField visits f and everything below it.
func eachField(f *field, visit func(*field)) {
	visit(f)
	for _, c := range f.fields {
		eachField(c, visit)
	}
}

// retryWords is what retry.on may have.
const retryWords = "connect, reset, refused-stream, timeout, cancelled, deadline-exceeded, internal, resource-exhausted, unavailable and statuses from 500 to 599"

// waiting is a loader that has on_down, [service.hedge], [log] and two words still before it.
func waiting() *loader {
	l := newLoader("config.toml")
	for _, f := range []*field{l.schema.root.child("log"), l.schema.service.child("hedge"), l.schema.service.child("on_down")} {
		eachField(f, func(f *field) { f.awaited = true })
	}
	l.schema.service.child("retry").child("on").later = []string{RetryUnavailable, RetryInternal}
	return l
}

func TestKeysOfALaterVersion(t *testing.T) {
	for _, tt := range []struct {
		name, toml string
		env        []string
		want       string
	}{
		{"key", orders + "on_down = \"keep\"", nil, `config.toml:4: service "orders": on_down: is not available in this version`},
		{"key with a wrong value", orders + "on_down = 1", nil, `config.toml:4: service "orders": on_down: is not available in this version`},
		{"table", orders + "[service.hedge]\nenabled = true\nbudget = 2", nil, `config.toml:4: service "orders": hedge: is not available in this version`},
		{"empty table", orders + "[service.hedge]", nil, `config.toml:4: service "orders": hedge: is not available in this version`},
		{"key of the table", orders + "hedge.enabled = true", nil, `config.toml:4: service "orders": hedge: is not available in this version`},
		{"table of the root", "[log]\nlevel = \"info\"", nil, `config.toml:1: log: is not available in this version`},
		{"defaults", "[defaults]\non_down = \"close\"\n" + orders, nil, `config.toml:2: defaults.on_down: is not available in this version`},
		{"table of defaults", "[defaults.hedge]\nenabled = true\n" + orders, nil, `config.toml:1: defaults.hedge: is not available in this version`},
		{
			"variables", orders, []string{"SIDECAR_SERVICE_ORDERS_ON_DOWN=keep", "SIDECAR_DEFAULTS_HEDGE_ENABLED=true", "SIDECAR_LOG_LEVEL=x"},
			`SIDECAR_DEFAULTS_HEDGE_ENABLED: defaults.hedge.enabled: is not available in this version
SIDECAR_LOG_LEVEL: log.level: is not available in this version
SIDECAR_SERVICE_ORDERS_ON_DOWN: service "orders": on_down: is not available in this version`,
		},
		{
			"word", orders + "retry.on = [\"connect\", \"internal\", \"unavailble\"]", nil,
			`config.toml:4: service "orders": retry.on: "internal" is not available in this version; allowed are connect, reset, refused-stream, timeout, cancelled, deadline-exceeded, resource-exhausted and statuses from 500 to 599
config.toml:4: service "orders": retry.on: "unavailble" is not known; allowed are connect, reset, refused-stream, timeout, cancelled, deadline-exceeded, resource-exhausted and statuses from 500 to 599`,
		},
		{
			"it is no suggestion", orders + "on_dwon = \"keep\"\nhedges = {}", []string{"SIDECAR_SERVICE_ORDERS_ON_DWON=keep", "SIDECAR_LOG_LEVL=info"},
			`config.toml:4: service "orders": on_dwon: unknown key
config.toml:5: service "orders": hedges: unknown key
SIDECAR_LOG_LEVL: unknown variable
SIDECAR_SERVICE_ORDERS_ON_DWON: unknown variable`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := waiting().load([]byte(tt.toml), tt.env)
			if err == nil || cfg != nil || err.Error() != tt.want {
				t.Errorf("\n got: %v\nwant: %s", err, tt.want)
			}
		})
	}
}

func TestKeysOfALaterVersionHaveTheirDefaults(t *testing.T) {
	got, err := waiting().load([]byte(orders), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := load(t, orders); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestKeysOfALaterVersionAreNotShown(t *testing.T) {
	l := waiting()
	text := load(t, orders).redacted(l.schema)
	for _, key := range []string{"on_down", "hedge", "percentile", "level"} {
		if strings.Contains(text, key) {
			t.Errorf("%s is shown in %s", key, text)
		}
	}
	if _, err := l.load([]byte(text), nil); err != nil {
		t.Errorf("as written:\n%v", err)
	}
}
