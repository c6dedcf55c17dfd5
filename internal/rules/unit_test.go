package rules

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sidecar/config"
)

// systemd kills what has not ended by TimeoutStopSec, in the middle of a drain if that takes
// longer by default.
func TestTheUnitLeavesTimeToDrain(t *testing.T) {
	unit, err := os.ReadFile("../../systemd/sidecar.service")
	if err != nil {
		t.Fatal(err)
	}
	var stop time.Duration
	for line := range strings.Lines(string(unit)) {
		if value, ok := strings.CutPrefix(line, "TimeoutStopSec="); ok {
			if stop, err = time.ParseDuration(strings.TrimSpace(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	field, ok := reflect.TypeFor[config.Runtime]().FieldByName("Drain")
	if !ok {
		t.Fatal("config.Runtime has no Drain")
	}
	drain, err := time.ParseDuration(field.Tag.Get("default"))
	if err != nil {
		t.Fatal(err)
	}
	if stop < drain+5*time.Second {
		t.Errorf("TimeoutStopSec is %v, and runtime.drain is %v by default: want at least 5s more", stop, drain)
	}
}
