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
		return b.requests(b.byWrk(requestPlan{
			title:   "HTTP, one loop, thread or worker, pinned",
			unit:    "req",
			setting: pinned, proxies: b.httpProxies(), conns: b.opts.connections,
		}, smallBody))
	case measureHTTPLoops:
		s := setting{http: true, origin: b.origin.addr, loops: b.opts.loops, core: anyCore, maxConns: 4096}
		return b.requests(b.byWrk(requestPlan{
			title:   fmt.Sprintf("HTTP, %d loops, threads or workers, not pinned", b.opts.loops),
			unit:    "req",
			setting: s, proxies: b.httpProxies(), conns: b.opts.connections,
		}, smallBody))
	case measureLarge:
		pinned.http, pinned.large = true, true
		return b.requests(b.byWrk(requestPlan{
			title:   fmt.Sprintf("HTTP, bodies of %d KiB, one loop, thread or worker, pinned", largeSize>>10),
			unit:    "MB",
			setting: pinned, proxies: b.largeProxies(), conns: largeConns,
		}, largeBody))
	case measureTCP:
		proxies, notes := b.tcpProxies()
		return b.requests(b.byWrk(requestPlan{
			title:   "TCP, small messages, one loop, thread or worker, pinned",
			unit:    "msg",
			setting: pinned, proxies: proxies, conns: []int{64}, notes: notes,
		}, smallBody))
	case measureBulk:
		return b.bulk()
	case measureIdle:
		return b.idle()
	case measureH2:
		return b.http2()
	case measureGRPC:
		return b.calls()
	case measureTLS:
		return b.secured()
	case measureHandshakes:
		return b.handshakes()
	case measureObserved:
		pinned.http = true
		return b.observed(pinned)
	}
	return fmt.Errorf("no such measurement")
}

// A requestPlan is a table of requests, calls, messages or handshakes.
type requestPlan struct {
	title, unit string
	setting     setting
	proxies     []proxy
	conns       []int
	large       bool // what counts is bytes
	notes       []string
	origin      []int // its processes

	// load loads a proxy for a while and returns its own CPU time too; check says whether the
	// answers are the origin's.
	load  func(addr string, conns int, d time.Duration) (loadResult, time.Duration, error)
	check func(addr string) error
}

// byWrk returns the plan with wrk as its load, which asks for a body: with one thread beside
// the origin if the proxies are pinned, else with two anywhere.
func (b *bench) byWrk(plan requestPlan, want body) requestPlan {
	core, threads := b.opts.loadCore, 1
	if plan.setting.core == anyCore {
		core, threads = anyCore, 2
	}
	plan.large, plan.origin = want == largeBody, b.origin.pids
	url := func(addr string) string { return plan.setting.scheme() + "://" + addr + want.path }
	plan.load = func(addr string, conns int, d time.Duration) (loadResult, time.Duration, error) {
		return b.wrk(url(addr), core, threads, conns, d)
	}
	plan.check = func(addr string) error { return checkAnswer(plan.setting.transport(), url(addr), want) }
	return plan
}

// requests loads each proxy in turn, as often as there are rounds, for each number of
// connections.
func (b *bench) requests(plan requestPlan) error {
	all, err := b.launchAll(plan.proxies, plan.setting)
	if err != nil {
		return err
	}
	defer b.stopAll(all)

	var results []*result
	for _, conns := range plan.conns {
		for _, p := range all {
			if err := plan.check(p.addr); err != nil {
				return fmt.Errorf("%s does not answer as the origin does: %w", p.label, err)
			}
			if _, _, err := plan.load(p.addr, conns, time.Second); err != nil { // warms up
				return fmt.Errorf("%s: %w", p.label, err)
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
	if plan.large {
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
	var said loadResult
	u, err := measured(p.pids, plan.origin, func() (cpu time.Duration, err error) {
		said, cpu, err = plan.load(p.addr, r.conns, b.opts.duration)
		return cpu, err
	})
	if err != nil {
		return err
	}
	if plan.large {
		r.addLarge(u, said)
	} else {
		r.addLoad(u, said)
	}
	return b.check(p)
}

func last(s series) float64 { return s[len(s)-1] }
