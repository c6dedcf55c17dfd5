package h2

import (
	"fmt"

	"sidecar/internal/eventloop"
)

const (
	// assumedMax is how many streams are opened before a server has said how many it allows.
	assumedMax = 100
	unknownMax = 1<<32 - 1
)

var errNoStream = fmt.Errorf("%w: %w", ErrUnprocessed, ErrFull)

// A Client is the client's side of a connection. All of it is used on the connection's loop
// only.
type Client struct{ c *conn }

// NewClient makes an established connection one of HTTP/2 and starts its task, which closes it
// at the end. Streams may be opened at once. o may be nil.
func NewClient(sock *eventloop.Conn, o *Options) *Client {
	c := newConn(sock, o)
	c.client, c.next = true, 1
	c.list.single = true
	c.room()
	c.out = append(c.out, prefaceText...)
	c.sendSettings()
	c.loop.Go(c)
	return &Client{c}
}

// Run is the task of a client's connection.
func (c *conn) Run(t *eventloop.Task) { _ = c.serve(t, nil) }

// Open returns a new stream: a request of HTTP/1.1 is written to it, and the response read from
// it, at the end of which it ends. The server learns of it when the request's head has been
// written. Without a free stream, or when the connection is ending or has ended, the error is
// one of which errors.Is says that it is ErrUnprocessed.
func (k *Client) Open() (*eventloop.Conn, error) {
	c := k.c
	switch {
	case c.err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnprocessed, c.err)
	case c.away || c.next > maxStreamID:
		return nil, fmt.Errorf("%w: %w", ErrUnprocessed, errAway)
	case c.live >= c.limit():
		return nil, errNoStream
	}
	s := c.newStream()
	s.kind = responseList
	s.text.begin(c.packer, requestList, 0)
	s.conn = eventloop.Layered(s, c.sock)
	c.begin(s)
	return s.conn, nil
}

// Free reports whether Open would return a stream.
func (k *Client) Free() bool { return k.c.usable() && k.c.live < k.c.limit() }

// Settled reports whether the server has sent its SETTINGS, as every server does at once: before
// that nothing says that it takes requests, or speaks HTTP/2 at all. OnChange tells of it.
func (k *Client) Settled() bool { return k.c.settled }

// Usable reports whether streams can be opened now or when others have ended.
func (k *Client) Usable() bool { return k.c.usable() }

// Streams is how many streams somebody uses.
func (k *Client) Streams() int { return k.c.live }

// Limit is how many streams there may be at once: what the server allows, or until it has said
// so 100, and Options.MaxStreams at the most.
func (k *Client) Limit() int { return k.c.limit() }

// OnChange has changed called on the loop when a stream has become free after there was none,
// when the last one has ended, when the server has changed its limit or is going away, and when
// the connection has ended. It must not block.
func (k *Client) OnChange(changed func()) { k.c.changed = changed }

// GoAway reports whether the server has said that it takes no more streams.
func (k *Client) GoAway() bool { return k.c.away }

// Err is why the connection has ended, nil as long as it has not.
func (k *Client) Err() error { return k.c.err }

// Abuse is what the connection was ended for, if the server has abused it.
func (k *Client) Abuse() (Flood, bool) { return k.c.abuse, k.c.abuse < FloodKinds }

// Close ends the connection and all of its streams.
func (k *Client) Close() {
	if k.c.err == nil {
		k.c.leave()
	}
}

// leave ends a client's connection.
func (c *conn) leave() {
	c.goaway(0, NoError, "")
	c.fail(errClosed)
}

func (c *conn) usable() bool { return c.err == nil && !c.away && c.next <= maxStreamID }

// limit is how many streams there may be at once.
func (c *conn) limit() int {
	most := c.peerMax
	switch {
	case !c.client:
		return int(c.opts.MaxStreams)
	case most == unknownMax:
		most = assumedMax
	}
	return int(min(most, c.opts.MaxStreams))
}

func (c *conn) notify() {
	if c.changed != nil {
		c.changed()
	}
}

// Status tells how the response on a stream of a Client has ended: whether the server has ended
// it in order, and with which grpc-status in the header list that ended it, -1 if there was
// none. It must be asked before the stream is closed; any other connection has not ended.
func Status(conn *eventloop.Conn) (code int, ended bool) {
	s, _ := conn.Layer().(*stream)
	if s == nil || !s.c.client || !s.peerDone || s.err != nil {
		return -1, false
	}
	return s.status, true
}
