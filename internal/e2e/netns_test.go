package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A remote is an origin in a network namespace of its own, which is reached over a pair of
// virtual interfaces, one end in it and one in ours. Nobody else uses it, and it ends with the
// origin, even if the test is killed.
type remote struct {
	*process
	t       *testing.T
	device  string // our end
	there   string // the address of the other
	address string // of the origin
}

// spawnRemote starts one. Where that is not allowed, the test is skipped.
func spawnRemote(t *testing.T, env ...string) *remote {
	t.Helper()
	for name, in := range map[string]string{"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("NOT TESTED, dropped packets: a network namespace is needed, and to make one takes %s (Debian: %s)", name, in)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "--net", "true").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED, dropped packets: a network namespace is needed, and to make one takes root with CAP_SYS_ADMIN: %s", out)
	}
	cmd := exec.Command(os.Args[0])
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	p, at := spawn(t, cmd, "0.0.0.0:0", env...)
	here, there := freePair(t)
	r := &remote{process: p, t: t, device: fmt.Sprintf("e2e%08x", rand.Uint32()), there: there,
		address: fmt.Sprintf("%s:%d", there, portOf(at))}
	pid := strconv.Itoa(p.cmd.Process.Pid)
	r.run("ip", "link", "add", r.device, "type", "veth", "peer", "name", "e0", "netns", pid)
	t.Cleanup(func() { r.run("ip", "link", "del", r.device) })
	r.run("ip", "addr", "add", here+"/30", "dev", r.device)
	r.run("ip", "link", "set", r.device, "up")
	r.run("nsenter", "--net", "--target", pid, "ip", "addr", "add", there+"/30", "dev", "e0")
	r.run("nsenter", "--net", "--target", pid, "ip", "link", "set", "e0", "up")
	// It takes the kernel a moment, in which packets are lost without our doing.
	within(t, patience, "the origin is reached", func() bool {
		c, err := net.DialTimeout("tcp", r.address, 100*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return r
}

// freePair returns the two addresses of a /30 of 10.0.0.0/8 that is in no network of ours.
func freePair(t *testing.T) (here, there string) {
	t.Helper()
	networks, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		pair := netip.AddrFrom4([4]byte{10, byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()) &^ 3})
		taken := false
		for _, n := range networks {
			known, err := netip.ParsePrefix(n.String())
			taken = taken || err == nil && known.Overlaps(netip.PrefixFrom(pair, 30))
		}
		if !taken {
			return pair.Next().String(), pair.Next().Next().String()
		}
	}
	t.Fatal("all of 10.0.0.0/8 is in use")
	return "", ""
}

// run runs a command.
func (r *remote) run(args ...string) {
	r.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		r.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// drop has all packets to it vanish: they go to an Ethernet address that nobody has. None is
// refused, none comes back.
func (r *remote) drop() {
	r.t.Helper()
	r.run("ip", "neigh", "replace", r.there, "lladdr", "02:00:00:00:00:01", "dev", r.device, "nud", "permanent")
}

// pass ends what drop has begun.
func (r *remote) pass() {
	r.t.Helper()
	r.run("ip", "neigh", "del", r.there, "dev", r.device)
}

func cutOff(t *testing.T) *victim {
	r := spawnRemote(t, victimLatency)
	return &victim{address: r.address, name: r.name(), strike: r.drop,
		cause: []string{"ejected|probed|it fails", "timed out", "it has sent nothing to anyone|timeout"},
		heal: func() string {
			r.pass()
			return r.name()
		}}
}

func TestOneWhosePacketsAreLostIsNotMissed(t *testing.T) {
	t.Parallel()
	isGone(t, cutOff(t), crowd)
}

// Over TCP it is the connection that goes elsewhere: nothing has been sent on it.
func TestOneWhosePacketsAreLostIsPassedOverByTCP(t *testing.T) {
	t.Parallel()
	const clients, sessions, probes, long = 8, 1000, 8, 500 * time.Millisecond
	v := cutOff(t)
	_, second := spawnOrigin(t, "127.0.0.1:0", victimLatency)
	_, third := spawnOrigin(t, "127.0.0.1:0", victimLatency)
	s := serving(t, static("orders", `protocol = "tcp"`, v.address, second, third))
	if before := askAfresh(t, s.address("orders"), clients, 100); len(before.from(v.name)) == 0 || len(before.good()) != 100 {
		t.Fatalf("%v, %d of them from the victim", before, len(before.from(v.name)))
	}
	v.strike()
	all := askAfresh(t, s.address("orders"), clients, sessions)
	t.Logf("%v; %d took longer than %v", all, len(all.slower(long)), long)
	if len(all.good()) != sessions {
		t.Errorf("%d of %d sessions were good", len(all.good()), sessions)
	}
	if n := len(all.slower(long)); n > clients+probes {
		t.Errorf("%d sessions took longer than %v", n, long)
	}
	s.wantExplained("orders", v.address, "ejected|probed|it fails", "timed out|timeout")
	name := v.heal()
	took := within(t, patience, "it gets sessions again", func() bool { return get(t, s.address("orders"), "/").origin() == name })
	t.Logf("it gets sessions again after %v", took.Round(time.Millisecond))
}
