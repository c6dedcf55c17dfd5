package lastgood

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sidecar/discovery"
)

var (
	saved     = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	confirmed = time.Date(2026, 3, 1, 11, 59, 58, 0, time.UTC)
)

// orders is a set with everything that a set can have.
func orders() Set {
	return Set{
		Saved: saved, Confirmed: confirmed, Index: 42,
		Instances: []discovery.Instance{
			{ID: "n1/a", Address: "10.0.0.1:8080", Weight: 3, Zone: "b", Meta: map[string]string{"version": "<2>", "é": "\"\n"}},
			{ID: "n1/b", Address: "[fd00::1]:8080", Weight: 1},
			{ID: "n2/a", Address: "db.internal:5432", Weight: 1},
			{ID: "n2/b", Address: "unix:/run/the app.sock", Weight: 1},
		},
	}
}

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put writes a file of the service orders with this in it, and returns its path.
func put(t testing.TB, s *Store, data []byte) string {
	t.Helper()
	path := filepath.Join(s.dir, "orders.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func encoded(t testing.TB, service, fingerprint string, set Set) []byte {
	t.Helper()
	data, err := encode(service, fingerprint, set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestASetComesBackAsItWas(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for name, set := range map[string]Set{
		"full":    orders(),
		"empty":   {Saved: saved, Confirmed: confirmed},
		"unknown": {Saved: saved, Confirmed: confirmed, Unknown: true},
	} {
		put(t, s, encoded(t, "orders", "consul \xff", set))
		got, err := s.Load("orders", "consul \xff")
		if err != nil || !reflect.DeepEqual(got, set) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestNothingIsKeptOfANewService(t *testing.T) {
	got, err := open(t, t.TempDir(), Options{}).Load("orders", "consul")
	if err != nil || !reflect.DeepEqual(got, Set{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNoByteCanBeChangedUnnoticed(t *testing.T) {
	set := orders()
	data := encoded(t, "orders", "consul", set)
	try := func(what string, at int, damaged []byte) {
		got, _, err := decode(damaged, "orders")
		if err == nil || !reflect.DeepEqual(got, Set{}) {
			t.Errorf("%s at %d is not noticed: %s: %+v, %v", what, at, damaged, got, err)
		}
	}
	for i := range data {
		for _, c := range []byte{data[i] ^ 1, data[i] ^ 0x20, data[i] ^ 0x80, 0, ' '} {
			if c != data[i] {
				damaged := bytes.Clone(data)
				damaged[i] = c
				try("change", i, damaged)
			}
		}
		try("cut", i, data[:i])
		try("loss", i, append(bytes.Clone(data[:i]), data[i+1:]...))
		try("insertion", i, append(append(bytes.Clone(data[:i]), ' '), data[i:]...))
	}
	try("tail", len(data), append(bytes.Clone(data), '\n'))
}

func TestAFileThatIsNotUsedIsNamedWithTheCause(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	good := string(encoded(t, "orders", "consul", orders()))
	bad := func(instances ...discovery.Instance) string {
		return string(encoded(t, "orders", "consul", Set{Saved: saved, Confirmed: confirmed, Instances: instances}))
	}
	for want, data := range map[string]string{
		"it is damaged: unexpected end of JSON input":   "",
		"it is damaged: invalid character":              "hello",
		"it is of version 2, and this sidecar reads":    strings.Replace(good, `"version":1`, `"version":2`, 1),
		"it is of version 0":                            "{}",
		"its checksum is wrong: it was damaged or edit": strings.Replace(good, "10.0.0.1:8080", "10.0.0.2:8080", 1),
		`it is of service "stock"`:                      string(encoded(t, "stock", "consul", orders())),
		"it does not say when it was true":              string(encoded(t, "orders", "consul", Set{})),
		"its payload is damaged":                        string(enclose([]byte(`{"service":3}`))),
		`none of its 2 instances can be used: kept instance "a": port 0 cannot be dialled`: bad(
			discovery.Instance{ID: "a", Address: "10.0.0.1:0"}, discovery.Instance{ID: "b", Address: "nonsense"}),
		`kept instance "10.0.0.1:80": it has no ID`: bad(discovery.Instance{Address: "10.0.0.1:80"}),
	} {
		path := put(t, s, []byte(data))
		set, err := s.Load("orders", "consul")
		if err == nil || !reflect.DeepEqual(set, Set{}) {
			t.Errorf("%q is used: %+v", data, set)
			continue
		}
		text := err.Error()
		if !strings.HasPrefix(text, "lastgood: "+path+": ") || !strings.Contains(text, want) || !strings.HasSuffix(text, "written anew with the next good set") {
			t.Errorf("error %q, want %q", text, want)
		}
	}
}

func TestOnlyRegularFilesOfBoundedSizeAreRead(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	path := filepath.Join(s.dir, "orders.json")
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, encoded(t, "orders", "consul", orders()), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, lay := range map[string]func() error{
		"not a regular file": func() error { return syscall.Mkfifo(path, 0o600) },
		"symbolic links":     func() error { return os.Symlink(elsewhere, path) },
		"larger than 64 MiB": func() error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, maxFile+1)
		},
	} {
		if err := lay(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load("orders", "consul"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want %q", err, want)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInstancesThatCannotBeUsedAreLeftOutAndTold(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	set := orders()
	set.Instances = append(set.Instances,
		discovery.Instance{ID: "n1/a", Address: "10.0.0.9:1"},
		discovery.Instance{ID: "x", Address: "10.0.0.9:70000"},
		discovery.Instance{ID: "y", Address: "unix:relative"})
	put(t, s, encoded(t, "orders", "consul", set))
	got, err := s.Load("orders", "consul")
	if err != nil || !reflect.DeepEqual(got.Instances, orders().Instances) {
		t.Errorf("%+v, %v", got, err)
	}
	want := []string{
		`kept instance "n1/a": it is there twice; the first stands`,
		`kept instance "x": port 70000 cannot be dialled; register it with its port`,
		`kept instance "y": port "relative" is no number`,
	}
	if !reflect.DeepEqual(got.Problems, want) {
		t.Errorf("problems %q", got.Problems)
	}
}

func TestASetFoundWithOtherSettingsIsNotUsed(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	s := open(t, t.TempDir(), Options{Log: zap.New(core)})
	put(t, s, encoded(t, "orders", "consul tags=v1", orders()))
	set, err := s.Load("orders", "consul tags=v2")
	if err != nil || !reflect.DeepEqual(set, Set{}) {
		t.Errorf("%+v, %v", set, err)
	}
	if logs.Len() != 1 || logs.All()[0].ContextMap()["then"] != "consul tags=v1" {
		t.Errorf("log %+v", logs.All())
	}
}

func TestASetIsNeverYoungerThanNow(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	set := orders()
	set.Confirmed = time.Now().Add(time.Hour)
	put(t, s, encoded(t, "orders", "consul", set))
	if got, err := s.Load("orders", "consul"); err != nil || got.Confirmed.After(time.Now()) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encoded(f, "orders", "consul", orders()))
	f.Add(encoded(f, "orders", "consul", Set{Saved: saved, Confirmed: confirmed, Unknown: true}))
	f.Add(enclose([]byte(`{"service":"orders","saved":"2026-03-01T12:00:00Z","confirmed":"2026-03-01T12:00:00Z","instances":[{"id":"a","address":"h:1"},{"id":"a"}]}`)))
	f.Add([]byte(`{"version":1,"payload":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		check := func(data []byte) {
			set, fingerprint, err := decode(data, "orders")
			if err != nil {
				return
			}
			for _, inst := range set.Instances {
				if inst.ID == "" || inst.Weight < 1 || checkAddress(inst.Address) != nil {
					t.Errorf("instance %+v", inst)
				}
			}
			again, also, err := decode(encoded(t, "orders", fingerprint, set), "orders")
			again.Problems = set.Problems
			if err != nil || also != fingerprint || !discovery.Equal(again.Instances, set.Instances) || !again.Confirmed.Equal(set.Confirmed) {
				t.Errorf("%+v comes back as %+v, %v", set, again, err)
			}
		}
		check(data)
		check(enclose(data)) // gets past the checksum
	})
}
