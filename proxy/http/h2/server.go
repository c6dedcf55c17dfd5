package h2

import "sidecar/internal/eventloop"

// A Server is the server's side of a connection. All of it is used on the connection's loop
// only.
type Server struct{ c *conn }

// NewServer returns the server's side of a connection that was accepted. accept is called on the
// loop for each request, within the task of the connection, with a stream that is readable with
// a request of HTTP/1.1; it starts a task for the stream, and must not block. A stream carries
// one request: after the response it ends. o may be nil.
func NewServer(sock *eventloop.Conn, o *Options, accept func(stream *eventloop.Conn)) *Server {
	c := newConn(sock, o)
	c.accept = accept
	c.preface = len(prefaceText)
	c.sendSettings()
	return &Server{c}
}

// Serve serves the connection in the task t, and closes it at the end. buffered is what has been
// read of it, which is the client's preface or a part of that, perhaps with more behind it. The
// error is nil if the connection has ended without a stream being lost.
func (s *Server) Serve(t *eventloop.Task, buffered []byte) error {
	return s.c.serve(t, buffered)
}

// Drain ends the connection when its streams have ended: the client is told by GOAWAY to open no
// more. Streams that it opens before it can know are still served. Drain may be called at any
// time, and more than once.
func (s *Server) Drain() { s.c.startDrain() }

// Close ends the connection and all of its streams.
func (s *Server) Close() { s.c.quit(broken(NoError, "")) }

// Abuse is what the connection was ended for, if the client has abused it.
func (s *Server) Abuse() (Flood, bool) { return s.c.abuse, s.c.abuse < FloodKinds }

// Streams is how many streams somebody uses.
func (s *Server) Streams() int { return s.c.live }
