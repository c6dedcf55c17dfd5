package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settleTime is how long a proxy is left alone before its memory is read.
const settleTime = 3 * time.Second

// memory is what processes occupy, in bytes, without what the kernel holds for their sockets.
type memory struct {
	rss, pss, private int64
}

func (m memory) minus(o memory) memory {
	return memory{m.rss - o.rss, m.pss - o.pss, m.private - o.private}
}

func readMemory(pids []int) (memory, error) {
	var sum memory
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return sum, err
		}
		m, err := parseSmaps(text)
		if err != nil {
			return sum, fmt.Errorf("/proc/%d/smaps_rollup: %w", pid, err)
		}
		sum = memory{sum.rss + m.rss, sum.pss + m.pss, sum.private + m.private}
	}
	return sum, nil
}

func parseSmaps(text []byte) (memory, error) {
	var m memory
	found := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		kB, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return m, err
		}
		switch f[0] {
		case "Rss:":
			m.rss = kB << 10
		case "Pss:":
			m.pss = kB << 10
		case "Private_Clean:", "Private_Dirty:":
			m.private += kB << 10
		default:
			continue
		}
		found++
	}
	if found != 4 {
		return m, fmt.Errorf("%d of the 4 fields found", found)
	}
	return m, nil
}

// idle reports what an idle keep-alive connection costs each proxy: a fresh process, as many
// connections as asked for, one request on each, and then its memory is compared.
func (b *bench) idle() error {
	n := b.opts.idleConns
	t := &table{labels: 1, head: []string{
		"proxy", "RSS B/conn", "PSS B/conn", "private B/conn", "min–max", "RSS before MB", "RSS after MB", "÷ haproxy", "÷ nginx",
	}}
	if spare := b.files - 1000; n > spare {
		t.note("Only %d connections: a process may have %d descriptors here (ulimit -Hn).", spare, b.files)
		n = spare
	}
	t.title = fmt.Sprintf("Memory of %d idle keep-alive connections, one loop, thread or worker", n)

	type figures struct{ rss, pss, private, before, after series }
	perProxy := map[string]*figures{}
	for round := range b.opts.rounds {
		for _, p := range b.httpProxies() {
			if p.label == nameDirect {
				continue
			}
			before, after, err := b.idleRun(p, n)
			if err != nil {
				return fmt.Errorf("%s: %w", p.label, err)
			}
			f := perProxy[p.label]
			if f == nil {
				f = &figures{}
				perProxy[p.label] = f
			}
			grown := after.minus(before)
			f.rss = append(f.rss, float64(grown.rss)/float64(n))
			f.pss = append(f.pss, float64(grown.pss)/float64(n))
			f.private = append(f.private, float64(grown.private)/float64(n))
			f.before = append(f.before, float64(before.rss)/1e6)
			f.after = append(f.after, float64(after.rss)/1e6)
			b.progress("idle, round %d of %d, %s: %.0f bytes per connection", round+1, b.opts.rounds, p.label, last(f.rss))
		}
	}
	rssOf := func(name string) float64 {
		if f := perProxy[name]; f != nil {
			return f.rss.median()
		}
		return 0
	}
	for _, name := range b.opts.proxies {
		f := perProxy[name]
		if f == nil {
			continue
		}
		t.row(name, fixed(f.rss.median(), 0), fixed(f.pss.median(), 0), fixed(f.private.median(), 0), between(f.rss, 0),
			fixed(f.before.median(), 1), fixed(f.after.median(), 1),
			ratio(f.rss.median(), rssOf(nameHAProxy)), ratio(f.rss.median(), rssOf(nameNginx)))
	}
	fmt.Print(t)
	return nil
}

// idleRun starts a proxy, reads its memory, opens n connections, and reads it again.
func (b *bench) idleRun(p proxy, n int) (before, after memory, err error) {
	r, err := p.launch(b, setting{http: true, origin: b.origin.addr, loops: 1, core: b.opts.proxyCore, maxConns: n + 500})
	if err != nil {
		return before, after, err
	}
	defer b.stopProxy(r)
	if err := checkAnswer(&http.Transport{}, "http://"+r.addr+smallBody.path, smallBody); err != nil {
		return before, after, err
	}
	if err := b.pause(settleTime); err != nil {
		return before, after, err
	}
	if before, err = readMemory(r.pids); err != nil {
		return before, after, err
	}

	var open idleConns
	defer open.close()
	if err := open.fill(b, r.addr, n); err != nil {
		return before, after, err
	}
	if err := b.pause(settleTime); err != nil {
		return before, after, err
	}
	if after, err = readMemory(r.pids); err != nil {
		return before, after, err
	}
	if err := open.stillOpen(); err != nil {
		return before, after, err
	}
	return before, after, b.check(r)
}

// idleConns are connections as bare descriptors: ten thousand cost this process nothing else.
type idleConns struct {
	fds []int
	buf [4096]byte
}

func (c *idleConns) close() {
	for _, fd := range c.fds {
		unix.Close(fd)
	}
}

// fill opens n connections, one after the other, and makes one request on each.
func (c *idleConns) fill(b *bench, addr string, n int) error {
	to, err := socketAddress(addr)
	if err != nil {
		return err
	}
	request := []byte("GET / HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	for i := range n {
		if i%100 == 0 && b.ctx.Err() != nil {
			return b.ctx.Err()
		}
		if err := c.open(to, request, i); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
	}
	return nil
}

// connsPerSource keeps far below the number of ports that one source address has.
const connsPerSource = 10_000

func (c *idleConns) open(to *unix.SockaddrInet4, request []byte, i int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.fds = append(c.fds, fd)
	limit := unix.Timeval{Sec: 5}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	from := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + i/connsPerSource%200)}}
	if err := unix.Bind(fd, from); err != nil {
		return err
	}
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	if _, err := unix.Write(fd, request); err != nil {
		return err
	}
	return c.readAnswer(fd)
}

// readAnswer reads one answer: its body ends it, and its size is known.
func (c *idleConns) readAnswer(fd int) error {
	got := 0
	for got < len(c.buf) {
		n, err := unix.Read(fd, c.buf[got:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("closed after %q", c.buf[:got])
		}
		got += n
		if _, body, ok := bytes.Cut(c.buf[:got], []byte("\r\n\r\n")); ok && len(body) >= smallSize {
			if !bytes.HasPrefix(c.buf[:got], []byte("HTTP/1.1 200 ")) || string(body) != smallBody.text() {
				return fmt.Errorf("a wrong answer: %q", c.buf[:got])
			}
			return nil
		}
	}
	return fmt.Errorf("an endless answer: %q", c.buf[:got])
}

// stillOpen makes sure that what was measured was there: no connection has been closed.
func (c *idleConns) stillOpen() error {
	for i, fd := range c.fds {
		_, _, err := unix.Recvfrom(fd, c.buf[:1], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != unix.EAGAIN {
			return fmt.Errorf("connection %d of %d was closed while idle: %w", i+1, len(c.fds), err)
		}
	}
	return nil
}

func socketAddress(addr string) (*unix.SockaddrInet4, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}, nil
}
