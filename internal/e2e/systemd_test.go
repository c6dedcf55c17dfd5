package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const service = "sidecar.service"

// adminInside has the admin interface where only the machine sees it: the ports are this system's.
const adminInside = "[admin]\nlisten = \"unix:/run/sidecar/admin.sock\"\n"

// unitFiles are the files of a machine with a sidecar in it: the binary, its units as they are
// shipped, and drop-ins that send their logs to the test and have more settings, if any.
func unitFiles(t *testing.T, config string, more ...string) map[string]string {
	t.Helper()
	program, err := os.ReadFile(binary())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(config, "[admin]") {
		config = adminInside + config
	}
	files := map[string]string{"usr/bin/sidecar": string(program), "etc/sidecar/config.toml": config}
	for _, name := range []string{service, "sidecar@.service"} {
		files["etc/systemd/system/"+name] = unit(t, name)
		files["etc/systemd/system/"+name+".d/e2e.conf"] = "[Service]\nStandardOutput=append:/out/%n.log\nStandardError=append:/out/%n.log\n" +
			strings.Join(more, "\n") + "\n"
	}
	return files
}

// listening is a service of the configuration, at an address of the host.
func listening(name, address string, o *origin) string {
	return fmt.Sprintf("\n[[service]]\nname = %q\nlisten = %q\ndiscovery = { source = \"static\", instances = [%q] }\n", name, address, o.address)
}

// wantOK makes a request on a connection of its own, which may have to wait but not fail.
func wantOK(t *testing.T, address string) {
	t.Helper()
	if a := get(t, address, "/"); a.status != http.StatusOK {
		t.Errorf("%s: %+v", address, a)
	}
}

// waitStatus waits until systemd shows a line of status with these words.
func (m *machine) waitStatus(words string) {
	m.t.Helper()
	within(m.t, patience, "systemd shows: "+words, func() bool { return strings.Contains(m.property(service, "StatusText"), words) })
}

// signalMain sends a signal to the sidecar itself.
func (m *machine) signalMain(s syscall.Signal) {
	m.t.Helper()
	m.run("systemctl", "kill", "--kill-who=main", "--signal="+strconv.Itoa(int(s)), service)
}

// waitNext waits until systemd has put another process in the place of one.
func (m *machine) waitNext(pid int) {
	m.t.Helper()
	within(m.t, patience, "systemd has started another process", func() bool {
		now := m.number(service, "MainPID")
		return now != pid && now != 0 && m.property(service, "ActiveState") == "active"
	})
}

func TestSystemdStartsReloadsRestartsAndStops(t *testing.T) {
	t.Parallel()
	orders, users := serveOrigin(t, "orders-1"), serveOrigin(t, "users-1")
	here, there := reserve(t), reserve(t)
	m := boot(t, unitFiles(t, adminInside+listening("orders", here, orders)))

	m.run("systemctl", "start", service)
	if state := m.property(service, "ActiveState"); state != "active" {
		t.Fatalf("it is %s", state)
	}
	m.waitStatus("ready")
	wantOK(t, here)
	if got := m.run("sidecar", "status", "--admin", "unix:/run/sidecar/admin.sock"); !strings.Contains(got, "orders") {
		t.Errorf("status: %s", got)
	}
	pid := m.number(service, "MainPID")

	// Reload: what is new is there, what stays is not touched.
	kept := connect(t, here)
	if a, err := kept.get("/"); err != nil || a.status != http.StatusOK {
		t.Fatalf("%+v, %v", a, err)
	}
	m.write("etc/sidecar/config.toml", adminInside+listening("orders", here, orders)+listening("users", there, users))
	m.run("systemctl", "reload", service)
	within(t, patience, "the new service is served", func() bool {
		w, err := dial(there)
		if err == nil {
			w.Close()
		}
		return err == nil
	})
	wantOK(t, there)
	if a, err := kept.get("/"); err != nil || a.status != http.StatusOK {
		t.Errorf("on a connection from before the reload: %+v, %v", a, err)
	}

	// A configuration with a mistake changes nothing, and everybody is told.
	m.write("etc/sidecar/config.toml", adminInside+listening("orders", "nowhere", orders))
	if out, err := m.try("systemctl", "reload", service); err == nil {
		t.Errorf("systemctl reload says nothing of a mistake: %s", out)
	}
	if log := m.log(service); !strings.Contains(log, "config.toml:6: ") || !strings.Contains(log, "nowhere") {
		t.Error("the log does not say which line is wrong")
	}
	m.signalMain(syscall.SIGHUP) // past the check of systemctl reload
	m.waitStatus("nowhere")
	within(t, patience, "the reload is over", func() bool { return m.property(service, "ActiveState") == "active" })
	wantOK(t, here)
	wantOK(t, there)
	if now := m.number(service, "MainPID"); now != pid {
		t.Errorf("the process was %d, and is %d", pid, now)
	}

	m.write("etc/sidecar/config.toml", adminInside+listening("orders", here, orders)+listening("users", there, users))
	m.run("systemctl", "stop", service)
	if result, code := m.property(service, "Result"), m.number(service, "ExecMainStatus"); result != "success" || code != 0 {
		t.Errorf("it ended with %s, exit status %d", result, code)
	}
	if c, err := net.Dial("tcp", here); err == nil {
		c.Close()
		t.Error("somebody listens after systemctl stop")
	}
}

// The sockets live in systemd's store while there is no process.
func TestARestartUnderSystemdRefusesNobody(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	address := reserve(t)
	m := boot(t, unitFiles(t, listening("orders", address, o)+listening("users", "unix:/run/sidecar/users.sock", o)))
	m.run("systemctl", "start", service)
	// The admin interface's socket may be there besides.
	within(t, patience, "systemd keeps the sockets", func() bool { return m.number(service, "NFileDescriptorStore") >= 2 })
	kept := m.number(service, "NFileDescriptorStore")

	l := &load{address: address, fresh: true}
	l.start(t, 4)
	for range 3 {
		pid := m.number(service, "MainPID")
		l.more(t, 100)
		m.run("systemctl", "restart", service)
		m.waitNext(pid)
	}
	l.more(t, 100)
	l.end(t)

	// Killed without a word: who comes before the next process is there waits.
	pid := m.number(service, "MainPID")
	m.signalMain(syscall.SIGKILL)
	within(t, patience, "it has ended", func() bool { return m.number(service, "MainPID") != pid })
	wantOK(t, address)
	m.waitNext(pid)
	c, err := net.Dial("unix", m.path("run/sidecar/users.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := &wire{c, bufio.NewReader(c)}
	if a, err := w.get("/"); err != nil || a.status != http.StatusOK {
		t.Errorf("at the unix socket: %+v, %v", a, err)
	}
	if n := m.number(service, "NFileDescriptorStore"); n != kept {
		t.Errorf("systemd keeps %d sockets, and %d at first", n, kept)
	}
	if n := m.number(service, "NRestarts"); n != 1 {
		t.Errorf("systemd has restarted it %d times by itself, want 1", n)
	}
}

// The store has a socket that overlaps the one that is to be opened.
func TestAnAddressMayChangeWithARestart(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	address := reserve(t)
	every := strings.Replace(address, "127.0.0.1", "0.0.0.0", 1)
	m := boot(t, unitFiles(t, listening("orders", address, o)))
	m.run("systemctl", "start", service)
	for _, now := range []string{every, address} {
		m.write("etc/sidecar/config.toml", adminInside+listening("orders", now, o))
		m.run("systemctl", "restart", service)
		wantOK(t, address)
		if n := m.number(service, "NRestarts"); n != 0 {
			t.Errorf("%s: it took %d attempts more", now, n)
		}
	}
}

func TestSystemdRestartsAProcessThatHangs(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	address := reserve(t)
	m := boot(t, unitFiles(t, listening("orders", address, o), "WatchdogSec=5s"))
	m.run("systemctl", "start", service)
	fed := m.number(service, "WatchdogTimestampMonotonic")
	within(t, patience, "the watchdog is fed", func() bool { return m.number(service, "WatchdogTimestampMonotonic") > fed })
	wantOK(t, address)
	pid := m.number(service, "MainPID")
	m.signalMain(syscall.SIGSTOP)
	m.waitNext(pid)
	wantOK(t, address)
	if log := m.log(service); !strings.Contains(log, "SIGABRT") {
		t.Error("the log does not have the stacks of the process that hung")
	}
}

// Two units of sockets, made from the example as it says; one of them is found by its address.
func TestSystemdHandsNamedSocketsOver(t *testing.T) {
	t.Parallel()
	orders, users := serveOrigin(t, "orders-1"), serveOrigin(t, "users-1")
	one, two, three := reserve(t), reserve(t), reserve(t)
	files := unitFiles(t, listening("orders", "systemd:orders", orders)+listening("users", "systemd:users", users)+listening("mail", three, users))
	example := unit(t, "sidecar.socket")
	for name, addresses := range map[string][]string{"orders": {one}, "users": {two}, "mail": {three}} {
		text := strings.Replace(example, "FileDescriptorName=orders", "FileDescriptorName="+name, 1)
		text = strings.Replace(text, "ListenStream=127.0.0.1:7001", "ListenStream="+strings.Join(addresses, "\nListenStream="), 1)
		text = strings.Replace(text, "/run/sidecar-orders.sock", "/out/"+name+".sock", 1)
		if !strings.Contains(text, "FileDescriptorName="+name) || !strings.Contains(text, "/out/"+name+".sock") || !strings.Contains(text, addresses[0]) {
			t.Fatalf("the example is not what the test takes it for:\n%s", text)
		}
		files["etc/systemd/system/sidecar-"+name+".socket"] = text
	}
	m := boot(t, files)
	m.run("systemctl", "start", "sidecar-orders.socket", "sidecar-users.socket", "sidecar-mail.socket")
	if state := m.property(service, "ActiveState"); state != "inactive" {
		t.Fatalf("before anybody has connected it is %s", state)
	}
	for address, origin := range map[string]string{one: orders.name, two: users.name, three: users.name} {
		if a := get(t, address, "/"); a.status != http.StatusOK || a.origin() != origin {
			t.Errorf("%s: %+v, want %s", address, a, origin)
		}
	}
	c, err := net.Dial("unix", m.out("orders.sock"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if log := m.log(service); !strings.Contains(log, "in no service's listen") || !strings.Contains(log, "/out/mail.sock") {
		t.Error("the log does not say that nobody listens at mail.sock")
	}

	l := &load{address: one, fresh: true}
	l.start(t, 4)
	pid := m.number(service, "MainPID")
	l.more(t, 100)
	m.run("systemctl", "restart", service)
	m.waitNext(pid)
	l.more(t, 100)
	l.end(t)
	// systemd has them anyway.
	if n := m.number(service, "NFileDescriptorStore"); n > 1 {
		t.Errorf("systemd keeps %d sockets besides, want the admin interface's at most", n)
	}
}

// Each has folders and a life of its own, and a drop-in can give it a user; a secret that only root
// can read reaches it.
func TestSeveralSidecarsOfOneHost(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	addresses := map[string]string{"a": reserve(t), "b": reserve(t), "": reserve(t)}
	config := func(name, unit, address string) string {
		return fmt.Sprintf("[admin]\nlisten = \"unix:/run/%s/admin.sock\"\n[consul]\ntoken_file = \"/run/credentials/%s/consul-token\"\n", name, unit) +
			listening("orders", address, o)
	}
	files := unitFiles(t, config("sidecar", service, addresses[""]), "LoadCredential=consul-token:/etc/sidecar/consul-token")
	files["etc/sidecar/consul-token"] = "secret"
	files["etc/systemd/system/sidecar@b.service.d/user.conf"] = "[Service]\nUser=sidecar-b\n"
	for _, name := range []string{"a", "b"} {
		files["etc/sidecar/"+name+".toml"] = config("sidecar@"+name, "sidecar@"+name+".service", addresses[name])
	}
	m := boot(t, files)
	m.run("chmod", "600", "/etc/sidecar/consul-token")
	users := map[string]int{}
	for _, name := range []string{"sidecar@a", "sidecar@b", "sidecar"} {
		m.run("systemctl", "start", name)
		users[m.property(name, "UID")]++
		for _, dir := range []string{"/var/lib/", "/run/", "/var/log/"} {
			if owner := m.run("stat", "--dereference", "--format=%u", dir+name); owner != m.property(name, "UID") {
				t.Errorf("%s%s belongs to user %s", dir, name, owner)
			}
		}
	}
	if len(users) != 2 || users["0"] != 0 {
		t.Errorf("users: %v, want one for two of them and one for the other", users)
	}
	for _, address := range addresses {
		wantOK(t, address)
	}
	m.run("systemctl", "stop", "sidecar", "sidecar@a")
	wantOK(t, addresses["b"])
	if _, err := os.Stat(m.path("run/sidecar@b/admin.sock")); err != nil {
		t.Error(err)
	}
}

// systemd waits for the end of a reload where it knows how.
func TestSystemdWaitsForAReload(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	here, there := reserve(t), reserve(t)
	files := unitFiles(t, listening("orders", here, o))
	files["etc/systemd/system/sidecar.service.d/notify-reload.conf"] = unit(t, "sidecar.service.d/notify-reload.conf")
	m := boot(t, files)
	var version int
	if _, err := fmt.Sscanf(m.run("systemctl", "--version"), "systemd %d", &version); err != nil {
		t.Fatal(err)
	}
	if version < 253 {
		t.Skipf("NOT TESTED: Type=notify-reload, which takes systemd 253; here is %d", version)
	}
	m.run("systemctl", "start", service)
	if kind := m.property(service, "Type"); kind != "notify-reload" {
		t.Errorf("the type is %s", kind)
	}
	m.write("etc/sidecar/config.toml", adminInside+listening("orders", here, o)+listening("users", there, o))
	m.run("systemctl", "reload", service)
	wantOK(t, there)
}
