package redis

import (
	"errors"
	"net"
	"strconv"
	"sync/atomic"
)

const (
	maxInstances = 10_000
	maxValue     = 64 << 10         // bytes of one string; an instance is some 100
	maxAnswer    = 16 << 20         // bytes of the answer to one command
	maxElements  = 4 * maxInstances // of one answer, in all of its arrays
	// maxArrays is how many there may be in one answer, which the library reads by recursion. Ours
	// have two, but for ROLE at a master, which has one per replica.
	maxArrays = 1000
)

var (
	errTooLarge = errors.New("the answer is larger than 16 MiB, 40,000 elements, 1,000 arrays, or 64 KiB in one value")
	errNotRedis = errors.New("the answer is not in Redis' protocol")
)

// A guarded connection fails the reading of answers that are larger than any of ours. The
// library makes room for as many bytes and elements as a header claims before the first of
// them has come, so it is too late to look at what it returns.
type guarded struct {
	net.Conn
	read atomic.Int64 // bytes since the last command
	skip int          // bytes left of a string, with its line end, in which nothing is a header; Read's
	line []byte       // what has come of a header; Read's

	// Of the answer under way, as its headers claim; Read's.
	left     int // elements that have still to come; 0: the next header begins an answer
	elements int
	arrays   int
}

func guard(c net.Conn) net.Conn {
	if c == nil {
		return nil
	}
	return &guarded{Conn: c}
}

// Write is where a new answer begins: commands are not pipelined. While notifications are
// waited for, the pings do it.
func (g *guarded) Write(p []byte) (int, error) {
	g.read.Store(0)
	return g.Conn.Write(p)
}

func (g *guarded) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if bad := g.check(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// check follows the framing over what has been read.
func (g *guarded) check(p []byte) error {
	if g.read.Add(int64(len(p))) > maxAnswer {
		return errTooLarge
	}
	for len(p) > 0 {
		if g.skip > 0 {
			n := min(g.skip, len(p))
			g.skip, p = g.skip-n, p[n:]
			continue
		}
		b := p[0]
		p = p[1:]
		if b == '\n' {
			if err := g.header(); err != nil {
				return err
			}
			g.line = g.line[:0]
		} else if g.line = append(g.line, b); len(g.line) > maxValue {
			return errTooLarge
		}
	}
	return nil
}

// header judges a line: types are its first byte, https://redis.io/docs/latest/develop/reference/protocol-spec/
func (g *guarded) header() error {
	if len(g.line) == 0 {
		return errNotRedis
	}
	if g.left > 0 {
		g.left--
	} else {
		g.elements, g.arrays = 0, 0
	}
	var limit int
	switch g.line[0] {
	case '+', '-', ':':
		return nil
	case '$':
		limit = maxValue
	case '*':
		limit = maxElements
	default:
		return errNotRedis
	}
	text := g.line[1:]
	if len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	}
	n, err := strconv.Atoi(string(text))
	switch {
	case err != nil || n < -1:
		return errNotRedis
	case n > limit:
		return errTooLarge
	case g.line[0] == '$' && n >= 0:
		g.skip = n + len("\r\n")
	case g.line[0] == '*':
		return g.array(max(n, 0))
	}
	return nil
}

// array counts an array of n elements. Each by itself may be small enough while those in one
// another, or one after the other, claim as much as they like in a few bytes each.
func (g *guarded) array(n int) error {
	g.left, g.elements, g.arrays = g.left+n, g.elements+n, g.arrays+1
	if g.elements > maxElements || g.arrays > maxArrays {
		return errTooLarge
	}
	return nil
}
