package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

// TestNoOutageOfTheRegistryCostsARequest has a registry of three servers and an agent go through
// what happens to registries, one thing after the other, while services are asked all the time.
// Not one request fails, and less than 5 s after the registry is back a new instance gets
// traffic.
func TestNoOutageOfTheRegistryCostsARequest(t *testing.T) {
	t.Parallel()
	dc := consultest.StartDatacenter(t)
	t.Run("wrong input", func(t *testing.T) { wrongInput(t, dc) })
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, *consultest.Datacenter)
	}{
		{"the token is replaced", tokenReplaced},
		{"the leader is killed", leaderKilled},
		{"the agent is restarted", agentRestarted},
		{"the agent stands still", agentStandsStill},
		{"the network to the agent is cut", networkCut},
		{"the catalog is restored from a snapshot", catalogRestored},
		{"the sidecar is restarted without the agent", restartedWithoutAgent},
		{"the sidecar is restarted while the agent stands still", restartedInSilence},
		{"the sidecar has nothing on disk", nothingOnDisk},
		{"all servers are killed", serversKilled}, // last: the servers take some seconds to be all well again
	} {
		t.Run(scenario.name, func(t *testing.T) {
			defer dc.Heal() // whatever a scenario that fails has left
			scenario.run(t, dc)
		})
	}
}

// An ordeal is a service with two instances and clients that ask all the time, and a registry with
// which something happens.
type ordeal struct {
	*sidecar
	t         *testing.T
	dc        *consultest.Datacenter
	name      string // of the service
	config    string
	tokenFile string
	token     consultest.Token // of which it is the file
	first     *origin
	second    *origin
	load      *load
	asides    []string // further services, of one instance each
	instances int      // how many were ever registered
	retired   int      // how many of them were taken out again, since the sidecar was started
}

const (
	// asides is how many further services there are: of the watches of one sidecar one alone looks
	// at the servers, that of the service which was changed last, and the others have to find out
	// nevertheless.
	asides = 2
	// askers ask once per askEvery each, which keeps every connection busy and the machine idle.
	askers, askEvery = 8, 10 * time.Millisecond
	// resumes is how long after the registry is back its changes may take to arrive.
	resumes = 5 * time.Second
	// noticed is how long a silent registry may stay unnoticed. It is twice and more what it takes,
	// and less than it takes the kernel to give a connection up.
	noticed = 15 * time.Second
	// mostTold is how often the log may say of one outage that the registry fails: it may answer
	// once or twice before it is all well again.
	mostTold = 3
)

// stage registers a service in the catalog and has it asked.
func stage(t *testing.T, dc *consultest.Datacenter, name, config string) *ordeal {
	t.Helper()
	return stageAt(t, dc, name, config, dc.Client.Address(), dc.Client.RegisterMany)
}

// stageAt is stage with another address of the registry, and another way to register.
func stageAt(t *testing.T, dc *consultest.Datacenter, name, config, registry string, register func(...consultest.Service)) *ordeal {
	t.Helper()
	o := &ordeal{t: t, dc: dc, name: name, tokenFile: filepath.Join(folder(t), "token")}
	o.token = dc.NewToken(consultest.ReadAll)
	o.writeToken(o.token)
	o.config = fmt.Sprintf("%s\n[consul]\naddress = %q\ntoken_file = %q\n", config, registry, o.tokenFile)
	for i := range asides {
		o.asides = append(o.asides, fmt.Sprintf("%s-aside-%d", name, i+1))
		o.aside(o.asides[i], 1, dc.Client.RegisterMany)
	}
	for _, s := range append(o.asides, name) {
		o.config += fmt.Sprintf("[[service]]\nname = %q\nlisten = \"127.0.0.1:0\"\n", s)
	}
	o.first, o.second = o.origin(register), o.origin(register)
	o.sidecar = serving(t, o.config)
	o.waitTotal(name, 2)
	for _, s := range o.asides {
		o.waitTotal(s, 1)
	}
	o.ask()
	return o
}

// aside starts the nth instance of a further service and registers it.
func (o *ordeal) aside(service string, n int, register func(...consultest.Service)) *origin {
	o.t.Helper()
	one := serveOrigin(o.t, fmt.Sprintf("%s-%d", service, n))
	register(consultest.Service{ID: one.name, Name: service, Address: "127.0.0.1", Port: one.port()})
	return one
}

// wantAside waits until a second instance of a further service gets traffic.
func (o *ordeal) wantAside(service string, one *origin, back time.Time) {
	o.t.Helper()
	within(o.t, resumes-time.Since(back), one.name+" gets traffic", func() bool {
		a := get(o.t, o.address(service), "/")
		if a.status != http.StatusOK {
			o.t.Errorf("%s: %+v", service, a)
		}
		return a.origin() == one.name
	})
	o.t.Logf("%s gets traffic %v after the registry is back (required: 5s)", one.name, time.Since(back).Round(time.Millisecond))
}

// ask lets the clients loose on the sidecar, and returns when both instances are in use.
func (o *ordeal) ask() {
	o.t.Helper()
	o.load = startPaced(o.t, o.address(o.name), askers, askEvery)
	within(o.t, patience, "both instances are in use", func() bool {
		return o.load.from(o.first.name) > 0 && o.load.from(o.second.name) > 0
	})
}

// origin starts a further instance and registers it.
func (o *ordeal) origin(register func(...consultest.Service)) *origin {
	o.t.Helper()
	o.instances++
	one := serveOrigin(o.t, fmt.Sprintf("%s-%d", o.name, o.instances))
	register(o.entry(one))
	return one
}

// entry is what is registered of an origin.
func (o *ordeal) entry(one *origin) consultest.Service {
	return consultest.Service{ID: one.name, Name: o.name, Address: "127.0.0.1", Port: one.port()}
}

// writeToken replaces the file of the token as a deployment does: by another one.
func (o *ordeal) writeToken(token consultest.Token) {
	o.t.Helper()
	part := o.tokenFile + ".part"
	err := os.WriteFile(part, []byte(token.Secret+"\n"), 0o600)
	if err == nil {
		err = os.Rename(part, o.tokenFile)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// outlast passes the time until at least d has gone by: no client asks more often than it does.
func (o *ordeal) outlast(d time.Duration) {
	o.t.Helper()
	o.load.more(o.t, askers*(int(max(d, 0)/askEvery)+2))
}

// wantFailing waits until the status says that the source fails, and with which words.
func (o *ordeal) wantFailing(words ...string) {
	o.t.Helper()
	begin := time.Now()
	within(o.t, noticed, fmt.Sprintf("the status says that the registry fails, with %q", words), func() bool {
		source := o.sidecar.service(o.name).Source
		for _, w := range words {
			if !strings.Contains(source.LastError, w) {
				return false
			}
		}
		return source.Failing
	})
	o.t.Logf("the status says so after %v", time.Since(begin).Round(time.Millisecond))
}

// wantTraffic waits until an instance gets traffic, less than 5 s after the registry was back.
func (o *ordeal) wantTraffic(one *origin, back time.Time) {
	o.t.Helper()
	within(o.t, resumes-time.Since(back), one.name+" gets traffic", func() bool { return o.load.from(one.name) > 0 })
	o.t.Logf("%s gets traffic %v after the registry is back (required: 5s)", one.name, time.Since(back).Round(time.Millisecond))
}

// wantGone waits until an instance that was taken out of the catalog has no connection left.
func (o *ordeal) wantGone(one *origin) {
	o.t.Helper()
	took := within(o.t, resumes, one.name+" has no connection any more", func() bool { return one.open() == 0 })
	o.t.Logf("%s has no connection any more after %v", one.name, took.Round(time.Millisecond))
}

// end sees that changes arrive as before, in both directions, and that no request has failed.
func (o *ordeal) end(back time.Time) {
	o.t.Helper()
	var others []*origin
	for _, s := range o.asides {
		others = append(others, o.aside(s, 2, o.dc.Follower().RegisterMany))
	}
	one := o.origin(o.dc.Follower().RegisterMany)
	o.wantTraffic(one, back)
	for i, s := range o.asides {
		o.wantAside(s, others[i], back)
	}
	o.retired++
	o.dc.Follower().DeregisterMany(one.name)
	o.wantGone(one)
	within(o.t, patience, "the status says that the registry answers", func() bool { return !o.sidecar.service(o.name).Source.Failing })
	o.load.end(o.t)
	for _, s := range append(o.asides, o.name) {
		if n := o.logged("source fails", fmt.Sprintf(`"service":%q`, s)); n > mostTold {
			o.t.Errorf("the log says %d times that the source of %s fails", n, s)
		}
	}
	if n := o.logged("instances changed") - o.logged("instances changed", `"retired":0`); n != o.retired {
		o.t.Errorf("instances have left %d times, and %d were deregistered", n, o.retired)
	}
}
