package eventloop_test

import (
	"fmt"
	"io"
	"net"
	"time"

	"sidecar/internal/eventloop"
)

// An echoServer answers what it is sent. Between messages a connection has neither task
// nor buffer.
type echoServer struct{}

func (s echoServer) Accepted(c *eventloop.Conn) {
	c.SetReadTimeout(time.Minute)
	if !c.Idle(s) {
		c.Close()
	}
}

func (s echoServer) Ready(c *eventloop.Conn, why eventloop.Cause) {
	if why != eventloop.CauseReadable {
		c.Close()
		return
	}
	c.Loop().Go(echoSession{s, c})
}

type echoSession struct {
	server echoServer
	conn   *eventloop.Conn
}

func (e echoSession) Run(*eventloop.Task) {
	loop := e.conn.Loop()
	buf := loop.Buffer()
	defer loop.Release(buf)
	for {
		n, err := e.conn.TryRead(buf)
		if err == eventloop.ErrWouldBlock {
			e.conn.SetReadTimeout(time.Minute)
			if e.conn.Idle(e.server) {
				return
			}
			continue
		}
		if err == nil {
			_, err = e.conn.Write(buf[:n])
		}
		if err != nil {
			e.conn.Close()
			return
		}
	}
}

func Example() {
	group, err := eventloop.NewGroup(eventloop.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer group.Close()
	listener, err := group.Listen("tcp", "127.0.0.1:0", echoServer{}, eventloop.ListenOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()

	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	for _, word := range []string{"hello", "loop"} {
		io.WriteString(client, word)
		answer := make([]byte, len(word))
		io.ReadFull(client, answer)
		fmt.Println(string(answer))
	}
	// Output:
	// hello
	// loop
}
