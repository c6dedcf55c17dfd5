package balancer
import ("testing";"math/rand/v2";"sidecar/upstream")
func BenchmarkOnly(b *testing.B){
	for _, m := range measured {
		s := running(b, 10000, m.policy(), m.name=="ring_hash")
		b.Run(m.name, func(b *testing.B){
			p := s.Snapshot().Picker
			key, random := upstream.PickKey{Hash: 1}, rand.New(rand.NewPCG(1, 2))
			before := cpuTime(b)
			for b.Loop() { key.Hash=random.Uint64(); p.Pick(key,nil) }
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
		if rp, ok := s.Snapshot().Picker.(*ringHash); ok {
			b.Run("find", func(b *testing.B){
			random := rand.New(rand.NewPCG(1, 2))
			before := cpuTime(b)
			for b.Loop() { rp.ring.find(random.Uint64()) }
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			})
			b.Run("owner", func(b *testing.B){
			random := rand.New(rand.NewPCG(1, 2))
			before := cpuTime(b)
			for b.Loop() { i:=rp.ring.find(random.Uint64()); if rp.owners[rp.ring.owner(i)]==nil {b.Fatal()} }
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
