package eventloop

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestMutedConnectionIsNotToldOfBytesUntilItIsUnmuted(t *testing.T) {
	tt := newTester(t, 1)
	peers := make(chan net.Conn, 1)
	read := make(chan string, 1)
	muted := make(chan struct{})
	ln, err := tt.g.Listen("tcp", "127.0.0.1:0", acceptFunc(func(c *Conn) {
		c.Loop().Go(RunFunc(func(task *Task) {
			defer c.Close()
			if err := task.Sleep(time.Millisecond); err != nil { // the first events are in
				read <- err.Error()
				return
			}
			c.Mute()
			close(muted)
			if err := task.Wait(50*time.Millisecond, Interest{c, Readable}); err == nil {
				read <- "told of bytes while muted"
				return
			}
			c.Unmute()
			b := make([]byte, 10)
			n, err := c.Read(b)
			if err != nil {
				read <- err.Error()
				return
			}
			read <- string(b[:n])
			c.Mute()
			if err := task.Wait(patience, Interest{c, Readable}); err != nil {
				read <- "not told of the end: " + err.Error()
				return
			}
			c.Unmute()
			_, err = c.Read(b)
			read <- err.Error()
		}))
	}), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		peer, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Error(err)
		}
		peers <- peer
	}()
	peer := <-peers
	defer peer.Close()
	<-muted
	peer.Write([]byte("hello"))
	if got := <-read; got != "hello" {
		t.Errorf("got %q", got)
	}
	peer.Close()
	if got := <-read; got != io.EOF.Error() {
		t.Errorf("got %q, want the end", got)
	}
}
