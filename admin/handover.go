package admin

import (
	"fmt"
	"os"
)

// File returns a duplicate of the listening socket, for a process that takes over. The caller closes
// it. It is called between Start and Shutdown.
func (s *Server) File() (*os.File, error) {
	l, ok := s.socket.Listener.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("admin: %s is no socket of its own", s.Address())
	}
	return l.File()
}

// Keep leaves the file of a unix socket where it is at the end, because another process goes on with
// it.
func (s *Server) Keep() { s.socket.kept.Store(true) }
