// Prometheus reads files of alert rules and dashboards of Grafana with Prometheus' own parsers, and
// writes what they ask for as one JSON object per selector:
//
//	go run . FILE.yml|FILE.json ...
//
// It ends with status 1 and the mistakes on standard error if one of them does not load.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// A Selector is a series that an expression asks for.
type Selector struct {
	Where  string   `json:"where"`  // the alert, or the panel
	Metric string   `json:"metric"` // its name
	Labels []string `json:"labels"` // what is asked about it, and what the expression groups by
}

// An expression is PromQL and where it stands.
type expression struct{ where, text string }

func main() {
	out := json.NewEncoder(os.Stdout)
	failed := false
	for _, file := range os.Args[1:] {
		selectors, err := read(file)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
		for _, s := range selectors {
			if err := out.Encode(s); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	if failed {
		os.Exit(1)
	}
}

func read(file string) ([]Selector, error) {
	promql := parser.NewParser(parser.Options{})
	expressions, err := expressions(file, promql)
	if err != nil {
		return nil, err
	}
	var out []Selector
	var problems []error
	for _, e := range expressions {
		parsed, err := promql.ParseExpr(e.text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %s: %w", e.where, e.text, err))
			continue
		}
		out = append(out, selectors(e.where, parsed)...)
	}
	return out, errors.Join(problems...)
}

// selectors are what an expression asks for. The labels that it groups by count for each of them.
func selectors(where string, expr parser.Expr) []Selector {
	var out []Selector
	parser.Inspect(expr, func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		s := Selector{Where: where, Metric: v.Name}
		for _, m := range v.LabelMatchers {
			if m.Name != model.MetricNameLabel {
				s.Labels = append(s.Labels, m.Name)
			}
		}
		for _, above := range path {
			if a, ok := above.(*parser.AggregateExpr); ok && !a.Without {
				s.Labels = append(s.Labels, a.Grouping...)
			}
		}
		slices.Sort(s.Labels)
		s.Labels = slices.Compact(s.Labels)
		out = append(out, s)
		return nil
	})
	return out
}

func expressions(file string, promql parser.Parser) ([]expression, error) {
	if filepath.Ext(file) == ".json" {
		return panels(file)
	}
	return rules(file, promql)
}

func rules(file string, promql parser.Parser) ([]expression, error) {
	groups, problems := rulefmt.ParseFile(file, false, model.LegacyValidation, promql, slog.Default())
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	var out []expression
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			out = append(out, expression{r.Alert + r.Record, r.Expr})
		}
	}
	return out, nil
}

// A panel is what matters here of a panel, of a row with panels in it, or of the whole dashboard.
type panel struct {
	Title   string  `json:"title"`
	Panels  []panel `json:"panels"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
}

// labelValues is Grafana's query for the values of a label.
var labelValues = regexp.MustCompile(`^label_values\((.+), *(\w+)\)$`)

// panels are the expressions of a dashboard. What Grafana fills in is filled in as it does.
func panels(file string) ([]expression, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var dashboard panel
	if err := json.Unmarshal(data, &dashboard); err != nil {
		return nil, err
	}
	var out []expression
	var collect func(p panel)
	collect = func(p panel) {
		for _, t := range p.Targets {
			text := strings.NewReplacer("$__rate_interval", "1m", "$__range", "1h", "$__interval", "1m").Replace(t.Expr)
			out = append(out, expression{p.Title, text})
		}
		for _, inner := range p.Panels {
			collect(inner)
		}
	}
	collect(dashboard)
	for _, a := range dashboard.Annotations.List {
		if a.Expr != "" { // Grafana's own have none
			out = append(out, expression{a.Name, a.Expr})
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Definition == "" {
			continue // the data source
		}
		q := labelValues.FindStringSubmatch(v.Definition)
		if q == nil {
			return nil, fmt.Errorf("variable %s: %q is not label_values(SERIES, LABEL)", v.Name, v.Definition)
		}
		out = append(out, expression{"variable " + v.Name, fmt.Sprintf("count by (%s) (%s)", q[2], q[1])})
	}
	return out, nil
}
