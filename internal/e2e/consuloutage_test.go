package e2e

import (
	"fmt"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

func leaderKilled(t *testing.T, dc *consultest.Datacenter) {
	o := stage(t, dc, "leaderless", "")
	leader := dc.Leader()
	leader.Stop()
	dc.Leader() // another one
	back := time.Now()
	one := o.origin(dc.Leader().RegisterMany)
	o.wantTraffic(one, back)
	dc.StartServers()
	o.end(time.Now())
}

// serversKilled is the end of the world to the agent. The servers have much to read again when
// they come back, and answer before they have, with what they know by then.
func serversKilled(t *testing.T, dc *consultest.Datacenter) {
	var many []consultest.Service
	for i := range 500 {
		many = append(many, consultest.Service{ID: fmt.Sprintf("many-%d", i), Name: "many", Port: 1 + i})
	}
	dc.Client.RegisterMany(many...)
	o := stage(t, dc, "serverless", "")
	dc.StopServers()
	o.wantFailing(dc.Client.Address())
	o.outlast(8 * time.Second) // the agent's own attempts to reach them become rare
	dc.StartServers()
	o.end(time.Now())
}

func agentRestarted(t *testing.T, dc *consultest.Datacenter) {
	o := stage(t, dc, "restarted", "")
	dc.Client.Stop()
	o.wantFailing(dc.Client.Address(), "refused")
	meanwhile := o.origin(dc.Follower().RegisterMany)
	dc.Client.Start()
	back := time.Now()
	o.wantTraffic(meanwhile, back)
	o.end(back)
}

// The agent of this host hangs, so that its servers take the host for dead: what is registered at
// that agent is critical to them, and so it is to the sidecar in the first moment afterwards.
func agentStandsStill(t *testing.T, dc *consultest.Datacenter) {
	o := stage(t, dc, "paused", "")
	home := stageAt(t, dc, "home", "", dc.Client.Address(), func(all ...consultest.Service) {
		for _, s := range all {
			dc.Client.Register(s)
		}
	})
	dc.Client.Pause()
	paused := time.Now()
	o.wantFailing(dc.Client.Address())
	o.outlast(11*time.Second - time.Since(paused))
	meanwhile := o.origin(dc.Follower().RegisterMany)
	within(t, patience, "the servers take the agent's host for dead", func() bool { return dc.Follower().Passing("home") == 0 })
	back := time.Now()
	dc.Client.Resume()
	o.wantTraffic(meanwhile, back)
	o.end(back)
	within(t, patience, "the servers know that the agent lives", func() bool { return dc.Follower().Passing("home") == 2 })
	home.end(time.Now())
}

// networkCut has a sidecar whose registry is on another host: nothing tells it that packets are
// lost.
func networkCut(t *testing.T, dc *consultest.Datacenter) {
	strait := serveStrait(t, dc.Client.Address())
	o := stageAt(t, dc, "cut", "", strait.address, dc.Client.RegisterMany)
	strait.cut()
	meanwhile := o.origin(dc.Follower().RegisterMany)
	o.wantFailing(strait.address)
	o.outlast(2 * time.Second) // with the longest pause between two lookups
	strait.mend()
	back := time.Now()
	o.wantTraffic(meanwhile, back)
	o.end(back)
}

// tokenReplaced does it in both orders: as it is planned, and as it happens.
func tokenReplaced(t *testing.T, dc *consultest.Datacenter) {
	o := stage(t, dc, "replaced", "")
	second, third := dc.NewToken(consultest.ReadAll), dc.NewToken(consultest.ReadAll)
	o.writeToken(second)
	dc.DeleteToken(o.token)
	o.wantTraffic(o.origin(dc.Follower().RegisterMany), time.Now())

	dc.DeleteToken(second)
	o.wantFailing("token", o.tokenFile)
	meanwhile := o.origin(dc.Follower().RegisterMany)
	o.writeToken(third)
	back := time.Now()
	o.wantTraffic(meanwhile, back)
	o.end(back)
}

// catalogRestored takes the catalog back to before an instance was registered: it leaves, though
// it is well, and is registered again. The index goes backwards, so that a query which waits for
// the next higher one would wait for long.
func catalogRestored(t *testing.T, dc *consultest.Datacenter) {
	o := stage(t, dc, "restored", "")
	snapshot := dc.Follower().SaveSnapshot()
	later := o.origin(dc.Follower().RegisterMany)
	o.wantTraffic(later, time.Now())
	index := o.sidecar.service(o.name).Source.Index

	o.retired++
	dc.Follower().RestoreSnapshot(snapshot)
	o.wantGone(later)
	if now := o.sidecar.service(o.name).Source.Index; now >= index {
		t.Errorf("the index has not gone backwards: it is %d, and was %d", now, index)
	}
	served := o.load.from(later.name)
	dc.Follower().RegisterMany(o.entry(later))
	back := time.Now()
	within(t, resumes, "the instance that has come back gets traffic", func() bool { return o.load.from(later.name) > served })
	o.end(back)
}
