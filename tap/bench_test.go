package tap

import "testing"

// What a request costs while nobody watches, and while somebody does whose rate is used up.
func BenchmarkPass(b *testing.B) {
	line := request(200, "10.0.0.1:80")
	b.Run("off", func(b *testing.B) {
		p := new(Point)
		b.ReportAllocs()
		for b.Loop() {
			if p.Watched() {
				p.Pass(line, Heads{})
			}
		}
	})
	b.Run("skipped", func(b *testing.B) {
		p := new(Point)
		w, err := p.Watch(Options{Rate: 1})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
		b.ReportAllocs()
		for b.Loop() {
			if p.Watched() {
				p.Pass(line, Heads{})
			}
		}
	})
}
