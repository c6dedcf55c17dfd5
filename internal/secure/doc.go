// Package secure speaks TLS on the connections of event loops, and holds the certificates for
// it: those that listeners show, and those that endpoints and clients are judged by.
//
// # A connection
//
// Server and Client make a layer of crypto/tls on a connection. What the proxies read and write
// is its Upper, a connection of the same loop:
//
//	socket ─ ciphertext ─> Conn (records, crypto/tls) ─ plaintext ─> Upper
//
// The handshake runs in a task, since it waits in the middle: a server's in the task of who has
// accepted the connection (Handshake), which can then decide by the protocol that was agreed on
// (State) who serves it, and a client's in one of its own, so that Upper is like a connection of
// Loop.StartDial: it becomes writable, or Upper.Established tells why not. Afterwards there is
// no task: reads take what the socket has, writes gather as records until the end of the turn
// and leave in one call. What the socket does not take waits, 64 KiB at the most, and until it
// has left Upper takes no more. An idle connection has no buffer of ours.
//
// A peer that ends without saying so (close_notify) has its stream cut off, which is
// io.ErrUnexpectedEOF. Close says so to the peer, behind all that has been written before; but what the
// socket does not take then has ten seconds at a time, and nobody is told of its end. Who has to know
// that all has left, as a proxy that is drained, calls Upper's Flush first.
//
// # Certificates
//
// A Termination is the TLS of a listener, an Origination that of a service's endpoints. Both are
// made from files and read them again when they change: Run looks once in half a second. New
// handshakes take the new ones, and connections that are there stay. Files that cannot be used
// leave the old ones in place, pair by pair.
//
// Why a handshake failed is told by a Refusal, in words for who has to mend it.
package secure
