package secure

import (
	"crypto/tls"
	"io"
	"testing"

	"sidecar/internal/eventloop"
)

func TestTheQueueGivesBuffersBack(t *testing.T) {
	tt := newTester(t)
	tt.on(func() {
		q := queue{loop: tt.loop}
		q.add(make([]byte, 100_000))
		q.take(70_000)
		if q.size != 30_000 || len(q.bufs) != 3 {
			t.Errorf("%d bytes in %d buffers", q.size, len(q.bufs))
		}
		q.drop()
		if q.size != 0 || len(q.bufs) != 0 || q.skip != 0 {
			t.Errorf("%+v is left", q)
		}
	})
}

func TestRecordsAreCountedHoweverTheyAreCut(t *testing.T) {
	var stream []byte
	ends := map[int]bool{0: true}
	for _, size := range []int{1, 0, 300, 16640} {
		stream = append(append(stream, 23, 3, 3, byte(size>>8), byte(size)), make([]byte, size)...)
		ends[len(stream)] = true
	}
	for _, step := range []int{1, 2, 3, 4, 5, 6, 7, 299, 1024, len(stream)} {
		var f framing
		for at := 0; at < len(stream); {
			next := min(at+step, len(stream))
			f.pass(stream[at:next])
			at = next
			if f.between() != ends[at] {
				t.Errorf("in steps of %d, at %d: between records: %v", step, at, f.between())
			}
		}
		if f.whole != len(ends)-1 {
			t.Errorf("in steps of %d: %d records", step, f.whole)
		}
	}
}

func TestReadingAndWritingAllocateNothingOfOurs(t *testing.T) {
	tt := newTester(t)
	address := tt.serve(tt.server(), func(_ *eventloop.Task, c *Conn, err error) { echo(c.Upper()) })
	c, err := tls.Dial("tcp", address, tt.client())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 1000)
	allocs := testing.AllocsPerRun(2000, func() {
		c.Write(b)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	})
	// Each of the two crypto/tls makes one small reader for each read of its socket.
	if allocs > 2 && !raceEnabled {
		t.Errorf("%v allocations for a piece there and back", allocs)
	}
}
