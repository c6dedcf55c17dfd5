package tracing

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

const (
	traceText  = "0af7651916cd43dd8448eb211c80319c"
	parentText = "b7ad6b7169203331"
)

// testShard is a shard whose ids are the same in every run.
func testShard(sample float64) *Shard {
	return &Shard{
		tracer: &Tracer{sampler: newSampler(sample), chunk: 1 << 20},
		random: rand.NewChaCha8([32]byte{1}), full: make(chan batch, 1), empty: make(chan []byte, 1),
	}
}

func TestTraceparentIsReadAsTheSpecificationHasIt(t *testing.T) {
	for value, flags := range map[string]Flags{
		"00-" + traceText + "-" + parentText + "-00":       0,
		"00-" + traceText + "-" + parentText + "-01":       Sampled,
		"00-" + traceText + "-" + parentText + "-03":       Sampled | Random,
		"00-" + traceText + "-" + parentText + "-ff":       Sampled | Random,
		"00-" + traceText + "-" + parentText + "-fc":       0,
		"01-" + traceText + "-" + parentText + "-03":       Sampled,
		"cc-" + traceText + "-" + parentText + "-01-what":  Sampled,
		"fe-" + traceText + "-" + parentText + "-00-":      0,
		"cc-" + traceText + "-" + parentText + "-01-\xff.": Sampled,
	} {
		c, ok := parse([]byte(value))
		if !ok || hex.EncodeToString(c.Trace[:]) != traceText || hex.EncodeToString(c.Parent[:]) != parentText || c.Flags != flags {
			t.Errorf("%q: %+v, %v", value, c, ok)
		}
	}
	zeros := strings.Repeat("0", 32)
	for _, value := range []string{
		"", "00", "00-", traceText, "00-" + traceText + "-" + parentText, "00-" + traceText + "-" + parentText + "-", "00-" + traceText + "-" + parentText + "-1",
		"00-" + traceText + "-" + parentText + "-01-", "00-" + traceText + "-" + parentText + "-01-what", "00-" + traceText + "-" + parentText + "-01.", "00-" + traceText + "-" + parentText + "-010",
		"01-" + traceText + "-" + parentText + "-01.what", "ff-" + traceText + "-" + parentText + "-01", "ff-" + traceText + "-" + parentText + "-01-what",
		"0-" + traceText + "-" + parentText + "-01", ".0-" + traceText + "-" + parentText + "-01", "0.-" + traceText + "-" + parentText + "-01", "FE-" + traceText + "-" + parentText + "-01",
		"00-" + zeros + "-" + parentText + "-01", "00-" + traceText + "-" + zeros[:16] + "-01",
		"00-" + strings.ToUpper(traceText) + "-" + parentText + "-01", "00-" + traceText + "-" + strings.ToUpper(parentText) + "-01", "00-" + traceText + "-" + parentText + "-0A",
		"00-" + traceText[1:] + "g-" + parentText + "-01", "00-" + traceText + "-" + parentText[1:] + "g-01", "00-" + traceText + "-" + parentText + "-0g",
		"00_" + traceText + "-" + parentText + "-01", "00-" + traceText + "_" + parentText + "-01", "00-" + traceText + "-" + parentText + "_01",
		" 00-" + traceText + "-" + parentText + "-01", "00-" + traceText + "-" + parentText + "-01 ",
		"00-" + traceText + "-" + parentText + "-01,00-" + traceText + "-" + parentText + "-01",
	} {
		if c, ok := parse([]byte(value)); ok || c != (Context{}) {
			t.Errorf("%q is taken: %+v", value, c)
		}
	}
}

func TestTheClientsDecisionHolds(t *testing.T) {
	for _, sample := range []float64{0, 1} {
		s := testShard(sample)
		for _, flags := range []Flags{0, Sampled} {
			in := fmt.Sprintf("00-%s-%s-%02x", traceText, parentText, flags)
			c := s.Begin([]byte(in))
			if c.Sampled() != (flags == Sampled) || c.Root() || hex.EncodeToString(c.Trace[:]) != traceText || hex.EncodeToString(c.Parent[:]) != parentText {
				t.Errorf("%s at %v: %+v", in, sample, c)
			}
			if out := string(c.AppendTraceparent(nil, c.Span)); flags == 0 && out != in {
				t.Errorf("not sampled: %s went on as %s", in, out)
			} else if flags == Sampled && (out == in || out[:36] != in[:36] || len(out) != TraceparentLen) {
				t.Errorf("sampled: %s went on as %s", in, out)
			}
		}
	}
}

func TestATraceBeginsHereWithoutAValidTraceparent(t *testing.T) {
	seen := map[TraceID]bool{}
	for _, sample := range []float64{0, 1} {
		s := testShard(sample)
		for _, in := range []string{"", "nonsense", "00-" + strings.Repeat("0", 32) + "-" + parentText + "-01"} {
			c := s.Begin([]byte(in))
			again, ok := parse(c.AppendTraceparent(nil, c.Span))
			if !ok || again.Trace != c.Trace || again.Parent != c.Span || again.Flags != c.Flags {
				t.Errorf("what is made cannot be read: %+v, %+v", c, again)
			}
			if !c.Root() || c.Sampled() != (sample == 1) || seen[c.Trace] && sample == 1 {
				t.Errorf("%q at %v: %+v", in, sample, c)
			}
			if sample == 1 {
				seen[c.Trace] = true
			}
		}
	}
}

// TestTheShareIsExact looks at the two ids between which the decision changes.
func TestTheShareIsExact(t *testing.T) {
	for _, share := range []float64{0.5, 0.25, 0.01, 1e-6, 1 / 3.0, 0.999} {
		s := newSampler(share)
		first := uint64(share * (1 << 63)) // the first that is not taken
		for number, want := range map[uint64]bool{
			0: true, 1: true, (first - 1) << 1: true, (first-1)<<1 | 1: true,
			first << 1: false, first<<1 | 1: false, math.MaxUint64: false,
		} {
			var id TraceID
			binary.BigEndian.PutUint64(id[:8], 0x123456789abcdef0) // says nothing
			binary.BigEndian.PutUint64(id[8:], number)
			if s.takes(&id) != want {
				t.Errorf("share %v, id %x: taken %v", share, id, !want)
			}
		}
	}
	for share, want := range map[float64]bool{-1: false, 0: false, 1: true, 2: true} {
		for _, number := range []uint64{0, math.MaxUint64} {
			var id TraceID
			binary.BigEndian.PutUint64(id[8:], number)
			if s := newSampler(share); s.takes(&id) != want {
				t.Errorf("share %v, number %x: taken %v", share, number, !want)
			}
		}
	}
}

func TestOfManyTracesTheShareIsSampled(t *testing.T) {
	const n = 200_000
	for _, share := range []float64{0.01, 0.1, 0.5} {
		s := testShard(share)
		larger := newSampler(2 * share)
		taken := 0
		for range n {
			c := s.Begin(nil)
			if c.Sampled() {
				taken++
				if !larger.takes(&c.Trace) {
					t.Fatalf("%x is recorded by a share of %v, and not by twice as much", c.Trace, share)
				}
			}
		}
		// Six standard deviations of the binomial distribution; the ids are those of a fixed seed.
		if off := math.Abs(float64(taken) - n*share); off > 6*math.Sqrt(n*share*(1-share)) {
			t.Errorf("share %v: %d of %d", share, taken, n)
		}
	}
}

func TestShardsMakeDifferentIDs(t *testing.T) {
	tr := open(t, Options{Loops: 4})
	seen := map[SpanID]bool{}
	for i := range 4 {
		for range 1000 {
			id := tr.Shard(i).NewSpan()
			if seen[id] || id == (SpanID{}) {
				t.Fatalf("%x came twice", id)
			}
			seen[id] = true
		}
	}
}

func TestBeginDoesNotAllocate(t *testing.T) {
	s := testShard(0.5)
	in := []byte("00-" + traceText + "-" + parentText + "-01")
	out := make([]byte, 0, TraceparentLen)
	if n := testing.AllocsPerRun(1000, func() {
		for _, v := range [][]byte{nil, in, in[:20]} {
			c := s.Begin(v)
			out = c.AppendTraceparent(out[:0], s.NewSpan())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzBegin(f *testing.F) {
	f.Add([]byte("00-" + traceText + "-" + parentText + "-01"))
	f.Add([]byte("cc-" + traceText + "-" + parentText + "-ff-more"))
	f.Add([]byte("00-00000000000000000000000000000000-0000000000000000-00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := testShard(0.5)
		was := bytes.Clone(in)
		c := s.Begin(in)
		if !bytes.Equal(in, was) {
			t.Fatal("what the client has sent was changed")
		}
		if c.Trace == (TraceID{}) || c.Span == (SpanID{}) {
			t.Fatalf("%q: %+v", in, c)
		}
		out := c.AppendTraceparent(nil, c.Span)
		again, ok := parse(out)
		if !ok || again.Trace != c.Trace || again.Parent != c.Span || again.Flags != c.Flags {
			t.Fatalf("%q went on as %q, which is not valid", in, out)
		}
		if !c.Root() && !bytes.HasPrefix(in[3:], out[3:36]) {
			t.Fatalf("%q went on as %q, another trace", in, out)
		}
	})
}
