package main

import (
	"io"
	"runtime"
	"sync"
)

// sections returns the tables that are asked for, still empty.
func (o *options) sections() []*section {
	var list []*section
	for _, sc := range o.scenarios {
		shown := sc.selections()
		switch {
		case o.sidecars > 0:
			shown = []selection{{size{o.sidecars, o.instances}, sc.policies}}
		case o.quick:
			shown = shown[:1]
		}
		for _, selected := range shown {
			if len(o.policies) > 0 {
				selected.policies = o.policies
			}
			s := &section{scenario: sc, size: selected.size}
			for _, name := range selected.policies {
				s.rows = append(s.rows, row{name: name})
			}
			list = append(list, s)
		}
	}
	return list
}

// run does all that is asked for, on as many threads as there are, and prints each table
// once it is complete and those before it are.
func (o *options) run(out io.Writer) error {
	if o.list {
		return o.describe(out)
	}
	sections := o.sections()
	var done sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	finished := make([]sync.WaitGroup, len(sections))
	for i, s := range sections {
		finished[i].Add(len(s.rows))
	}
	done.Go(func() {
		for i, s := range sections {
			for j := range s.rows {
				slots <- struct{}{}
				done.Go(func() {
					s.rows[j].tally = o.simulate(s, o.presets[s.rows[j].name])
					<-slots
					finished[i].Done()
				})
			}
		}
	})
	defer done.Wait()
	var before *scenario
	for i, s := range sections {
		finished[i].Wait()
		text := s.text
		if o.format == formatMarkdown {
			text = s.markdown
		}
		if _, err := io.WriteString(out, text(s.scenario != before)); err != nil {
			return err
		}
		before = s.scenario
	}
	return nil
}

func (o *options) simulate(s *section, p *preset) *tally {
	w := newWorld(s.scenario, p, s.size, o.seed)
	w.run(s.scenario.length)
	return w.tally
}
