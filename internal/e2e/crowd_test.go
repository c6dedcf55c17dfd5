package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/admin"
	"sidecar/internal/consultest"
)

const (
	// crowdInstances is how many instances each service of a throng has.
	crowdInstances = 10
	// crowdConnections is the default of consul.connections, and crowdSpare the few more that there
	// may be: for calls that do not wait, the test's own, and what is being closed while it is counted.
	crowdConnections, crowdSpare = 100, 15
	// crowdRate is the most queries per second that a throng may cost while nothing changes, however
	// large it is: each connection waits for a quarter of a second at least.
	crowdRate = 4 * crowdConnections
	// What the sidecar may hold at the most, and in addition for each service.
	crowdBase, crowdEach         = 80 << 20, 64 << 10
	crowdGoroutines, crowdEachGo = 400, 6
)

// A throng is one sidecar with very many services in Consul, all with the same instances.
type throng struct {
	*sidecar
	t       *testing.T
	agent   *consultest.Agent
	names   []string
	origins []*origin
	load    *load // on the first service
}

// TestVeryManyServices has each of them change, while one is asked all the time. With -e2e.full it
// is alone on the machine, so that what it logs can be believed.
func TestVeryManyServices(t *testing.T) {
	if !*full {
		t.Parallel()
	}
	c := gather(t, sized(200, 1000))
	connections := countConnections(t, c.agent)
	c.holds()
	if !c.haveTotal(crowdInstances) {
		t.Error("not all of them have all of their instances")
	}
	c.calm("nothing is asked", sized(2, 12))

	c.load = startPaced(t, c.address(c.names[0]), askers, askEvery)
	c.load.more(t, 500)
	c.calm("one service is asked", sized(2, 12))
	extra := serveOrigin(t, "extra")
	c.change("an instance more in every service", func() { c.agent.RegisterMany(c.entries(extra, crowdInstances)...) }, crowdInstances+1)
	within(t, patience, "the new instance gets traffic", func() bool { return c.load.from("extra") > 0 })
	c.change("that instance gone", func() {
		var ids []string
		for _, s := range c.entries(extra, crowdInstances) {
			ids = append(ids, s.ID)
		}
		c.agent.DeregisterMany(ids...)
	}, crowdInstances)
	scrape := c.window()
	page(t, c.sidecar, "/metrics")
	t.Logf("while metrics are scraped: %s", scrape.end())
	c.load.end(t)
	t.Logf("%.1f MiB resident at the end", float64(c.memory("VmRSS"))/(1<<20))
	if n := c.logged(alone); n != 0 {
		t.Errorf("the log says %d times that the source fails", n)
	}
	if n := connections(); n > crowdConnections+crowdSpare {
		t.Errorf("%d connections to the agent, want %d and a few", n, crowdConnections)
	} else {
		t.Logf("at most %d connections to the agent", n)
	}
}

// gather registers n services and starts a sidecar with all of them.
func gather(t *testing.T, n int) *throng {
	t.Helper()
	c := &throng{t: t, agent: consultest.Start(t)}
	var config strings.Builder
	for i := range n {
		c.names = append(c.names, fmt.Sprintf("service-%d", i))
		fmt.Fprintf(&config, "[[service]]\nname = %q\nlisten = \"127.0.0.1:0\"\n", c.names[i])
	}
	var all []consultest.Service
	for i := range crowdInstances {
		o := serveOrigin(t, fmt.Sprintf("crowd-%d", i))
		c.origins = append(c.origins, o)
		all = append(all, c.entries(o, i)...)
	}
	c.agent.RegisterMany(all...)

	t.Logf("the agent has taken the %d instances of %d services", len(all), n)
	begin := time.Now()
	c.sidecar = start(t, config.String(), consulAt(c.agent))
	within(t, 2*patience, "the instances of all services are known", func() bool {
		return strings.Contains(c.err.String(), "ready: the instances of every service are known")
	})
	t.Logf("all are known after %v", time.Since(begin).Round(time.Millisecond))
	return c
}

// entries are an origin as the instance number i of each service.
func (c *throng) entries(o *origin, i int) []consultest.Service {
	var all []consultest.Service
	for _, name := range c.names {
		all = append(all, consultest.Service{ID: fmt.Sprintf("%s-%d", name, i), Name: name, Port: o.port()})
	}
	return all
}

// answers is how many queries were answered so far.
func (c *throng) answers() uint64 {
	c.t.Helper()
	var n uint64
	d := c.document()
	for i := range d.Services {
		n += d.Services[i].Sources[0].Answers
	}
	return n
}

// calm measures what the sidecar costs for some seconds in which nothing changes.
func (c *throng) calm(what string, seconds int) {
	c.t.Helper()
	before := c.answers()
	w := c.window()
	linger(c.t.Context(), time.Duration(seconds)*time.Second)
	text := w.end()
	// Those that come in while the status is written count, too.
	rate := float64(c.answers()-before) / time.Since(w.began).Seconds()
	c.t.Logf("%s: %s; %.0f queries/s", what, text, rate)
	if rate > crowdRate {
		c.t.Errorf("%s: %.0f queries/s to the agent although nothing changes, want at most %d", what, rate, crowdRate)
	}
}

// change measures what it costs that every service changes, and waits until all have n instances.
func (c *throng) change(what string, do func(), n int) {
	c.t.Helper()
	w := c.window()
	do()
	made := time.Now()
	linger(c.t.Context(), time.Duration(sized(2, 8))*time.Second)
	text := w.end() // before the status is asked for, which costs more than the change
	within(c.t, 2*patience, what+", as all services know", func() bool {
		linger(c.t.Context(), 200*time.Millisecond)
		return c.haveTotal(n)
	})
	c.t.Logf("%s: made in %v; %s", what, made.Sub(w.began).Round(time.Millisecond), text)
	if last := c.newest(); last.After(w.began) {
		c.t.Logf("the last service knows %v after the last change", last.Sub(made).Round(time.Millisecond))
	}
}

// haveTotal tells whether every service has n instances.
func (c *throng) haveTotal(n int) bool {
	c.t.Helper()
	d := c.document()
	return len(d.Services) == len(c.names) &&
		!slices.ContainsFunc(d.Services, func(s admin.Service) bool { return s.Total != n || s.Source.Failing })
}

// newest is when the last endpoint became what it is.
func (c *throng) newest() (last time.Time) {
	c.t.Helper()
	d := c.document()
	for i := range d.Services {
		for _, e := range d.Services[i].Endpoints {
			if e.Since.After(last) {
				last = e.Since
			}
		}
	}
	return last
}

// A window is a time in which it is measured what the sidecar costs.
type window struct {
	*throng
	began time.Time
	cpu   time.Duration
}

func (c *throng) window() window { return window{c, time.Now(), c.processor()} }

func (w window) end() string {
	w.t.Helper()
	took, cpu := time.Since(w.began), w.processor()-w.cpu
	text := fmt.Sprintf("%v of CPU in %v (%.1f %% of a core)", cpu, took.Round(time.Millisecond), 100*cpu.Seconds()/took.Seconds())
	if w.load != nil {
		text += "; " + w.load.sofar().between(w.began, time.Now()).String()
	}
	return text
}

// holds sees that the sidecar holds little for each service, before it was asked for a status or
// metrics, which are large and leave much garbage.
func (c *throng) holds() {
	c.t.Helper()
	n, rss := int64(len(c.names)), c.memory("VmRSS")
	if most := crowdBase + n*crowdEach; rss > most && !raceEnabled {
		c.t.Errorf("%d bytes resident for %d services, want at most %d", rss, n, most)
	}
	began, cpu := time.Now(), c.processor()
	_, _, scrape := page(c.t, c.sidecar, "/metrics")
	took := time.Since(began)
	_, text, _ := strings.Cut(scrape, "\ngo_goroutines ")
	text, _, _ = strings.Cut(text, "\n")
	goroutines, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	if most := crowdGoroutines + n*crowdEachGo; goroutines > most {
		c.t.Errorf("%d goroutines for %d services, want at most %d", goroutines, n, most)
	}
	c.t.Logf("%.1f MiB resident, %d goroutines, %d descriptors", float64(rss)/(1<<20), goroutines, c.descriptors())
	c.t.Logf("a scrape of %d bytes takes %v and %v of CPU; %.1f MiB are resident after it", len(scrape),
		took.Round(time.Millisecond), c.processor()-cpu, float64(c.memory("VmRSS"))/(1<<20))
}

// processor is the time for which a process has kept a processor busy so far.
func (p *process) processor() time.Duration {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	// The name of the program, in parentheses, may have spaces in it. What follows begins with field 3.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, field := range fields[14-3 : 16-3] { // utime, stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 on every architecture that Go knows
}

// countConnections counts connections to an agent until it is asked for the most at a time.
// Those of the test itself, one at a time, are among them.
func countConnections(t *testing.T, agent *consultest.Agent) (most func() int) {
	t.Helper()
	// As the kernel writes them: hexadecimal, the state behind the address; 01 is established.
	pattern := fmt.Sprintf(":%04X 01 ", portOf(agent.Address()))
	n, stop := 0, make(chan struct{})
	var counting sync.WaitGroup
	counting.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			text, err := os.ReadFile("/proc/net/tcp")
			if err != nil {
				t.Error(err)
				return
			}
			n = max(n, strings.Count(string(text), pattern))
		}
	})
	end := sync.OnceFunc(func() { close(stop); counting.Wait() })
	t.Cleanup(end)
	return func() int { end(); return n }
}
