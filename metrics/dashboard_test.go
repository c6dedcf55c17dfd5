package metrics

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// A dashboard is what Grafana 9 and newer need of one, as far as mistakes are made there.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []dashboardPanel
	Templating    struct {
		List []struct{ Name, Type string }
	}
}

type dashboardPanel struct {
	ID          int
	Type, Title string
	Datasource  struct{ Type, UID string }
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct {
		Expr, RefID string
		Datasource  struct{ Type, UID string }
	}
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, dashboardPath)), &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

func TestTheDashboardHasItsRowsAndVariables(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 {
		t.Errorf("uid %q, title %q, schema %d", d.UID, d.Title, d.SchemaVersion)
	}
	var variables, rows []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	for _, p := range d.Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
		}
	}
	if want := []string{"datasource", "job", "instance", "service"}; !slices.Equal(variables, want) {
		t.Errorf("variables %q, want %q", variables, want)
	}
	if want := []string{
		"Overview", "Traffic and errors", "Latency", "Endpoints", "Retries, breakers and limits",
		"Sources and announcements", "TLS and HTTP/2", "Process and loops",
	}; !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
}

// Who imports it chooses the data source, and every panel heeds the choice of instance.
func TestEveryPanelAsksTheChosenDataSourceAndInstance(t *testing.T) {
	for _, p := range readDashboard(t).Panels {
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: %d queries, data source %q", p.Title, len(p.Targets), p.Datasource.UID)
		}
		var refs []string
		for _, q := range p.Targets {
			if q.Datasource.UID != "${datasource}" || !strings.Contains(q.Expr, `job=~"$job", instance=~"$instance"`) {
				t.Errorf("%s: %s: data source %q", p.Title, q.Expr, q.Datasource.UID)
			}
			if slices.Contains(refs, q.RefID) {
				t.Errorf("%s: two queries are called %s", p.Title, q.RefID)
			}
			refs = append(refs, q.RefID)
		}
	}
}

func TestPanelsDoNotLieOnEachOther(t *testing.T) {
	type cell struct{ x, y int }
	taken, ids := map[cell]string{}, map[int]string{}
	for _, p := range readDashboard(t).Panels {
		g := p.GridPos
		if other, ok := ids[p.ID]; ok || p.ID == 0 {
			t.Errorf("%s and %s have the number %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		if g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%s stands at %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, ok := taken[cell{x, y}]; ok {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[cell{x, y}] = p.Title
			}
		}
	}
}
