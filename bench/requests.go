package main

import (
	"fmt"
	"strings"
	"time"
)

// table makes one of the measurements and prints it.
func (b *bench) table(name string) error {
	pinned := setting{origin: b.origin.addr, loops: 1, core: b.opts.proxyCore, maxConns: 4096}
	switch name {
	case measureHTTP:
		pinned.http = true
		return b.requests(requestPlan{
			title:   "HTTP, one loop, thread or worker, pinned",
			unit:    "req",
			setting: pinned, proxies: b.httpProxies(), conns: b.opts.connections, body: smallBody,
			wrkCore: b.opts.loadCore, wrkThreads: 1,
		})
	case measureHTTPLoops:
		s := setting{http: true, origin: b.origin.addr, loops: b.opts.loops, core: anyCore, maxConns: 4096}
		return b.requests(requestPlan{
			title:   fmt.Sprintf("HTTP, %d loops, threads or workers, not pinned", b.opts.loops),
			unit:    "req",
			setting: s, proxies: b.httpProxies(), conns: b.opts.connections, body: smallBody,
			wrkCore: anyCore, wrkThreads: 2,
		})
	case measureLarge:
		pinned.http, pinned.large = true, true
		return b.requests(requestPlan{
			title:   fmt.Sprintf("HTTP, bodies of %d KiB, one loop, thread or worker, pinned", largeSize>>10),
			unit:    "MB",
			setting: pinned, proxies: b.largeProxies(), conns: largeConns, body: largeBody,
			wrkCore: b.opts.loadCore, wrkThreads: 1,
		})
	case measureTCP:
		proxies, notes := b.tcpProxies()
		return b.requests(requestPlan{
			title:   "TCP, small messages, one loop, thread or worker, pinned",
			unit:    "msg",
			setting: pinned, proxies: proxies, conns: []int{64}, body: smallBody,
			wrkCore: b.opts.loadCore, wrkThreads: 1, notes: notes,
		})
	case measureBulk:
		return b.bulk()
	case measureIdle:
		return b.idle()
	}
	return fmt.Errorf("no such measurement")
}

// A requestPlan is a table of wrk runs.
type requestPlan struct {
	title, unit string
	setting     setting
	proxies     []proxy
	conns       []int
	body        body // what is asked for
	wrkCore     int
	wrkThreads  int
	notes       []string
}

// requests runs wrk against each proxy in turn, as often as there are rounds, for each number
// of connections.
func (b *bench) requests(plan requestPlan) error {
	all, err := b.launchAll(plan.proxies, plan.setting)
	if err != nil {
		return err
	}
	defer b.stopAll(all)

	var results []*result
	for _, conns := range plan.conns {
		for _, p := range all {
			if err := checkAnswer(p.addr, plan.body); err != nil {
				return fmt.Errorf("%s does not answer as the origin does: %w", p.label, err)
			}
			if _, _, err := b.wrk(p.addr+plan.body.path, plan.wrkCore, plan.wrkThreads, conns, time.Second); err != nil { // warms up
				return err
			}
		}
		turn := make([]*result, len(all))
		for i, p := range all {
			turn[i] = &result{label: p.label, conns: conns}
		}
		for round := range b.opts.rounds {
			for i, p := range all {
				if err := b.requestRun(plan, p, turn[i]); err != nil {
					return fmt.Errorf("%s at %d connections: %w", p.label, conns, err)
				}
				b.progress("%s: %d connections, round %d of %d, %s: %.0f %s/s, CPU %.2f", strings.ToLower(plan.title),
					conns, round+1, b.opts.rounds, p.label, last(turn[i].rate), plan.unit, last(turn[i].cpu))
			}
		}
		results = append(results, turn...)
	}
	t := requestTable(plan.title, plan.unit, results)
	if plan.body == largeBody {
		t = largeTable(plan.title, results)
	}
	t.notes = append(t.notes, plan.notes...)
	fmt.Print(t)
	return nil
}

func (b *bench) requestRun(plan requestPlan, p *running, r *result) error {
	if err := b.check(p); err != nil {
		return err
	}
	var said wrkResult
	u, err := measured(p.pids, b.origin.pids, func() (cpu time.Duration, err error) {
		said, cpu, err = b.wrk(p.addr+plan.body.path, plan.wrkCore, plan.wrkThreads, r.conns, b.opts.duration)
		return cpu, err
	})
	if err != nil {
		return err
	}
	if plan.body == largeBody {
		r.addLarge(u, said)
	} else {
		r.addWrk(u, said)
	}
	return b.check(p)
}

func last(s series) float64 { return s[len(s)-1] }
