package http

import "time"

// How long and for how many bytes a client may go on sending what nobody wants any more.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
)

// linger lets the client read the last response before the connection is closed: with
// unread bytes the kernel would answer with a reset, and that can destroy what the client
// has not read yet (RFC 9112 §9.6).
func (x *exchange) linger() {
	if x.conn.CloseWrite() != nil || x.conn.Flush(x.shard.set.ClientIdle) != nil {
		return
	}
	x.take()
	by := x.shard.loop.Now() + lingerTime
	for left := lingerBytes; left > 0; {
		wait := by - x.shard.loop.Now()
		if wait <= 0 {
			return
		}
		x.conn.SetReadTimeout(wait)
		n, err := x.conn.Read(x.in)
		if err != nil || n == 0 {
			return
		}
		left -= n
	}
}
