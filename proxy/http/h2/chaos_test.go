package h2

import (
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sidecar/internal/eventloop"
)

// chaos are frames of which most are in order and hardly any is where it belongs.
func chaos(rnd *rand.Rand, list ...string) []byte {
	var out capture
	fr := http2.NewFramer(&out, nil)
	fr.AllowIllegalWrites = true
	var block capture
	enc := hpack.NewEncoder(&block)
	for range 1 + rnd.IntN(60) {
		id := uint32(rnd.IntN(8))
		if rnd.IntN(3) > 0 {
			id |= 1
		}
		payload := make([]byte, rnd.IntN(200))
		end := rnd.IntN(2) == 0
		switch rnd.IntN(14) {
		case 0, 1, 2, 3:
			block = block[:0]
			for i := 0; i < len(list); i += 2 {
				if rnd.IntN(20) > 0 {
					enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]})
				}
			}
			cut := len(block)
			if rnd.IntN(4) == 0 {
				cut = rnd.IntN(len(block) + 1)
			}
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:cut], EndHeaders: cut == len(block), EndStream: end, PadLength: uint8(rnd.IntN(3))})
			if cut < len(block) && rnd.IntN(10) > 0 {
				fr.WriteContinuation(id, true, block[cut:])
			}
		case 4, 5, 6, 7:
			fr.WriteData(id, end, payload)
		case 8:
			fr.WriteRSTStream(id, http2.ErrCode(rnd.IntN(15)))
		case 9:
			fr.WriteWindowUpdate(id&^uint32(rnd.IntN(2)), rnd.Uint32()>>rnd.IntN(32))
		case 10:
			fr.WriteSettings(http2.Setting{ID: http2.SettingID(1 + rnd.IntN(7)), Val: rnd.Uint32() >> rnd.IntN(32)})
		case 11:
			fr.WritePing(end, [8]byte{})
		case 12:
			if rnd.IntN(10) == 0 {
				fr.WriteGoAway(id, http2.ErrCode(rnd.IntN(15)), payload)
			}
		default:
			if rnd.IntN(5) == 0 {
				fr.WriteRawFrame(http2.FrameType(rnd.IntN(12)), http2.Flags(rnd.IntN(256)), id, payload)
			}
		}
	}
	if len(out) > 0 && rnd.IntN(4) == 0 {
		out[rnd.IntN(len(out))] ^= byte(1 << rnd.IntN(8))
	}
	return out
}

type capture []byte

func (c *capture) Write(p []byte) (int, error) {
	*c = append(*c, p...)
	return len(p), nil
}

// Whatever a client sends, nothing panics, and nothing is left when it is gone.
func TestChaosOfClients(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	tt := newTester(t)
	addr := tt.serve(handler(echo))
	for range 300 {
		r := tt.connect(addr)
		r.fr.WriteSettings()
		go io.Copy(io.Discard, r.conn)
		r.conn.Write(chaos(rnd, ":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a", "x", "y"))
		r.conn.Close()
	}
	tt.quiet()
}

// The same for servers.
func TestChaosOfServers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	tt := newTester(t)
	for range 200 {
		k, r := tt.listen()
		r.fr.WriteSettings()
		for range 4 {
			tt.on(func() {
				c, err := k.Open()
				if err != nil {
					return
				}
				tt.l.Go(eventloop.RunFunc(func(*eventloop.Task) {
					defer c.Close()
					io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
					io.WriteString(c, "body")
					io.Copy(io.Discard, c)
				}))
			})
		}
		go io.Copy(io.Discard, r.conn)
		r.conn.Write(chaos(rnd, ":status", "200", "x", "y"))
		r.conn.Close()
		tt.on(k.Close)
	}
	tt.quiet()
}
