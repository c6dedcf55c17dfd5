package dns

import (
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxFile bounds how much of a file is read; lists of blocked hosts have some megabytes.
const maxFile = 16 << 20

// A file is read again when it has changed.
type file struct {
	path string
	seen stamp
	read bool
}

// A stamp is another one when a file has changed: replaced, or written to in place.
type stamp struct {
	at    time.Time
	size  int64
	inode uint64
}

// changed returns the text of a file if it may be another one than at the last call. A file
// that does not exist is empty. One that cannot be read for once stays as it was.
func (f *file) changed() (text string, changed bool) {
	now, err := stampOf(f.path)
	if err == nil && f.read && now == f.seen {
		return "", false
	}
	var all []byte
	if err == nil {
		all, err = readFile(f.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && f.read {
		return "", false
	}
	if err != nil {
		now = stamp{}
		if f.read && f.seen == now {
			return "", false
		}
	}
	f.seen, f.read = now, true
	return string(all), true
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	s := stamp{at: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// hostname is this host's name, from which a search list is made if nobody gives one.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// hosts are the addresses of names as /etc/hosts has them, in lower case and without a dot at
// the end.
type hosts map[string][]netip.Addr

// parseHosts reads lines of an address and the names it has. What is no such line is passed
// over, as libc does.
func parseHosts(text string) hosts {
	h := make(hosts)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = hostsName(name)
			h[name] = append(h[name], addr.Unmap())
		}
	}
	return h
}

// lookup returns the addresses of a name. That localhost is this host holds without an entry
// too (RFC 6761, section 6.3).
func (h hosts) lookup(name string) []netip.Addr {
	name = hostsName(name)
	if addrs := h[name]; len(addrs) > 0 || name != "localhost" {
		return addrs
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}

func hostsName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
