package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"sidecar/discovery"
	"sidecar/discovery/lastgood"
)

// asked is what stands beside the set of the first service on disk, to tell what it answers.
func asked(t *testing.T, text string) string {
	t.Helper()
	cfg := parse(t, adminOff+text)
	r := &registries{config: cfg}
	defer r.close(nil)
	b := &sourceBuilder{builder: &builder{Daemon: &Daemon{log: zap.NewNop()}, config: cfg, registries: r}, service: "orders", discovery: &cfg.Services[0].Discovery}
	if _, err := b.combine(); err != nil {
		t.Fatal(err)
	}
	return b.fingerprint()
}

// service is the [[service]] that asks as discovery says.
func orders(discovery string) string {
	return "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:0\"\ndiscovery = { " + discovery + " }\n"
}

func TestASetOnDiskAnswersTheSameQuestionOnly(t *testing.T) {
	seen := make(map[string]string)
	for _, text := range []string{
		orders(""),
		"[consul]\ndatacenter = \"dc2\"\n" + orders(""),
		"[consul]\nnamespace = \"b\"\n" + orders(""),
		orders(`service = "others"`), orders(`tags = ["v2"]`), orders(`warning = false`), orders(`failover = ["dc2"]`),
		orders(`near = "_agent", nearest = 2`), orders(`tagged_address = "wan"`), orders(`query = "q"`),
		"[redis]\naddress = \"a:6379\"\n" + orders(`source = "redis"`),
		"[redis]\naddress = \"b:6379\"\n" + orders(`source = "redis"`),
		"[nacos]\naddresses = [\"a:1\"]\nnamespace = \"dev\"\n" + orders(`source = "nacos"`),
		"[nacos]\naddresses = [\"a:1\"]\nnamespace = \"prod\"\n" + orders(`source = "nacos"`),
		"[etcd]\nendpoints = [\"a:1\"]\n" + orders(`source = "etcd"`),
		"[etcd]\nendpoints = [\"b:1\"]\n" + orders(`source = "etcd"`),
		"[dns]\nservers = [\"10.0.0.1\"]\n" + orders(`source = "dns"`), orders(`source = "dns"`),
		orders(`source = "dns", dns = { type = "a", port = 80 }`),
		orders(`source = "file", file = { path = "/a.json" }`),
		"[kubernetes]\naddress = \"https://a:1\"\nnamespace = \"x\"\n" + orders(`source = "kubernetes"`),
		"[kubernetes]\naddress = \"https://a:1\"\nnamespace = \"y\"\n" + orders(`source = "kubernetes"`),
		orders(`sources = ["consul", "static"], instances = ["10.0.0.1:1"]`),
		orders(`sources = ["consul", "static"], instances = ["10.0.0.2:1"]`),
		orders(`sources = ["consul", "static"], instances = ["10.0.0.1:1"], combine = "merge"`),
	} {
		answer := asked(t, text)
		if other, twice := seen[answer]; twice {
			t.Errorf("%q is asked by both\n%s\nand\n%s", answer, text, other)
		}
		seen[answer] = text
	}
	// What is merely judged differently is the same question.
	if a, b := asked(t, orders("")), asked(t, orders(`confirm_loss = 1.0, confirm_after = "9s"`)); a != b {
		t.Errorf("%q and %q", a, b)
	}
}

func TestANewDaemonThatFailsEndsTheSubscriptionsOfItsAnnouncements(t *testing.T) {
	port := taken(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantNothingLeft(t, func(t *testing.T) {
		_, err := New(parse(t, adminOff+fmt.Sprintf("[consul]\ntoken_file = %q\n", token)+text("first", "tcp", port, "127.0.0.1:1")+
			"[[register]]\nname = \"app\"\nport = 8080\n"), Options{})
		if err == nil {
			t.Fatal("a listener that is in use is opened")
		}
	})
}

// fixed reports one set.
type fixed struct{ discovery.Update }

func (f fixed) Watch(ctx context.Context, report func(discovery.Update)) {
	report(f.Update)
	<-ctx.Done()
}

func TestAStartFromDiskIsInStatusAndMetrics(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf("[runtime]\nstate_dir = %q\n[consul]\naddress = \"127.0.0.1:1\"\n", dir) + orders("")
	keep(t, dir, asked(t, text), discovery.Update{Instances: []discovery.Instance{{ID: "a", Address: "127.0.0.1:9", Weight: 1}}})
	r := run(t, adminOff+text)
	<-r.state.Load().services[0].upstream.Known()
	st := r.Status().Services[0]
	if !st.Source.Stored || st.Total != 1 || st.Sources[0].Known {
		t.Errorf("status %+v, sources %+v", st.Source, st.Sources)
	}
	families, err := r.metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		if n := f.GetName(); strings.HasPrefix(n, "sidecar_service_set") || n == "sidecar_source_age_seconds" {
			names = append(names, fmt.Sprint(n, " ", f.GetMetric()[0].GetGauge().GetValue() > 0))
		}
	}
	if got := strings.Join(names, ", "); got != "sidecar_service_set_age_seconds true, sidecar_service_set_stored true" {
		t.Errorf("metrics %s", got)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

// keep has a set on disk.
func keep(t *testing.T, dir, fingerprint string, u discovery.Update) {
	t.Helper()
	s, err := lastgood.Open(dir, lastgood.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	watched := s.Source("orders", fingerprint, lastgood.Set{}, fixed{u})
	watched.Watch(ctx, func(discovery.Update) {})
	s.Run(ctx) // its end writes all that waits
}
