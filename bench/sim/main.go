// Command sim compares policies in virtual time: thousands of sidecars, each with the real
// upstream.Service with its picker, breakers, budget and limiter, send requests to instances
// that are slow, fail, vanish and come back. docs/resilience.md shows the tables and says
// what they mean.
//
//	go run ./bench/sim                             everything, two to three minutes
//	go run ./bench/sim -quick                      the small size only, some seconds
//	go run ./bench/sim -scenario slow,outage       two of the scenarios
//	go run ./bench/sim -policy sidecar,random      two of the policies
//	go run ./bench/sim -sidecars 10 -instances 50  another size
//
// Nothing is sent and no time passes: a run is a queue of events and one goroutine, and
// nothing in its output depends on the clock of the machine. The same seed gives the same output, byte
// for byte. Several runs go on at once, which changes nothing about them.
//
// The life of a run: scenario, preset and size → world (instances, sidecars with their
// services) → events in the order of their time → tally → a line of a table.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() { os.Exit(main1(os.Args[1:], os.Stdout, os.Stderr)) }

func main1(args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = o.run(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "sim:", err)
		return 1
	}
	return 0
}

// options are those of the command line.
type options struct {
	scenarios []*scenario
	policies  []string // empty: those of the scenario
	presets   map[string]*preset
	order     []string // of the presets
	seed      uint64
	sidecars  int // 0: the sizes that are shown
	instances int
	quick     bool
	format    string
	list      bool
}

const (
	formatText     = "text"
	formatMarkdown = "markdown"
)

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{presets: make(map[string]*preset)}
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	scenarioNames := flags.String("scenario", "", "names of scenarios, with commas; empty: all")
	policyNames := flags.String("policy", "", "names of policies, with commas; empty: those that belong to the scenario")
	flags.Uint64Var(&o.seed, "seed", 1, "all chance is made from it")
	flags.IntVar(&o.sidecars, "sidecars", 0, "how many sidecars; 0: the two sizes that are shown")
	flags.IntVar(&o.instances, "instances", 0, "how many instances; 0: the two sizes that are shown")
	flags.BoolVar(&o.quick, "quick", false, "the small size only")
	flags.StringVar(&o.format, "format", formatText, "text or markdown")
	flags.BoolVar(&o.list, "list", false, "say which scenarios and policies there are")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.format != formatText && o.format != formatMarkdown {
		return nil, fmt.Errorf("-format is %q, text or markdown is wanted", o.format)
	}
	if o.sidecars < 0 || o.instances < 0 || o.instances > maxInstances || (o.sidecars == 0) != (o.instances == 0) {
		return nil, fmt.Errorf("-sidecars and -instances go together, and there are at most %d instances", maxInstances)
	}
	if err := o.choosePresets(*policyNames); err != nil {
		return nil, err
	}
	return o, o.chooseScenarios(*scenarioNames)
}

// maxInstances is what the port of an address can tell apart.
const maxInstances = 60_000

func (o *options) choosePresets(names string) error {
	list, err := presets()
	if err != nil {
		return err
	}
	for _, p := range list {
		o.presets[p.name] = p
		o.order = append(o.order, p.name)
	}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if o.presets[name] == nil {
			return fmt.Errorf("there is no policy %q, only %s", name, strings.Join(o.order, ", "))
		}
		o.policies = append(o.policies, name)
	}
	return nil
}

func (o *options) chooseScenarios(names string) error {
	list := scenarios()
	if names == "" {
		o.scenarios = list
		return nil
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(list, func(sc *scenario) bool { return sc.name == strings.TrimSpace(name) })
		if i < 0 {
			var known []string
			for _, sc := range list {
				known = append(known, sc.name)
			}
			return fmt.Errorf("there is no scenario %q, only %s", name, strings.Join(known, ", "))
		}
		o.scenarios = append(o.scenarios, list[i])
	}
	return nil
}

// describe lists scenarios and policies.
func (o *options) describe(out io.Writer) error {
	var b strings.Builder
	b.WriteString("scenarios:\n")
	for _, sc := range o.scenarios {
		fmt.Fprintf(&b, "  %-14s %s\n", sc.name, sc.title)
	}
	b.WriteString("policies:\n")
	for _, name := range o.order {
		fmt.Fprintf(&b, "  %-22s %s\n", name, o.presets[name].about)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
