package preamble

import "encoding/binary"

// A cursor reads a message of a handshake from the records that carry it, as if there were no
// records. These have been checked, and hold as much as left says or more.
type cursor struct {
	b      []byte // what has not been read, from within a record on
	record int    // of which the record has so much
	left   int    // and so much may be read
	broken bool   // more was asked for
}

// newCursor begins with a message whose first four bytes are in b. They say how much may be read
// after them, which is for the caller to put into left.
func newCursor(b []byte) cursor { return cursor{b: b, left: len(b)} }

// chunk takes at most n bytes, those that lie together.
func (c *cursor) chunk(n int) []byte {
	if c.record == 0 {
		c.record = int(binary.BigEndian.Uint16(c.b[3:]))
		c.b = c.b[recordHeader:]
	}
	n = min(n, c.record)
	p := c.b[:n]
	c.b, c.record = c.b[n:], c.record-n
	return p
}

// skip passes over n bytes.
func (c *cursor) skip(n int) { c.take(n, nil) }

// read fills p.
func (c *cursor) read(p []byte) { c.take(len(p), p) }

// take passes over n bytes, and copies them to p unless that is nil. Where fewer may be read, c is
// broken and everything is zero.
func (c *cursor) take(n int, p []byte) {
	if n > c.left {
		c.broken, c.left = true, 0
		clear(p)
		return
	}
	c.left -= n
	for n > 0 {
		q := c.chunk(n)
		p = p[copy(p, q):]
		n -= len(q)
	}
}

func (c *cursor) uint8() int {
	var p [1]byte
	c.read(p[:])
	return int(p[0])
}

func (c *cursor) uint16() int {
	var p [2]byte
	c.read(p[:])
	return int(binary.BigEndian.Uint16(p[:]))
}

func (c *cursor) uint24() int {
	var p [3]byte
	c.read(p[:])
	return int(p[0])<<16 | int(p[1])<<8 | int(p[2])
}
