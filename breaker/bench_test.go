package breaker

import (
	"testing"
	"time"
)

func BenchmarkAllowReport(b *testing.B) {
	const step = 20 * time.Microsecond // 50,000 attempts per second
	b.Run("closed", func(b *testing.B) {
		br := New(Settings{ConsecutiveFailures: 5, SuccessRate: .8})
		var at time.Duration
		b.ReportAllocs()
		for b.Loop() {
			p, _ := br.Allow()
			p.ReportAt(Success, at)
			at += step
		}
	})
	b.Run("closed, reading the time", func(b *testing.B) {
		br := New(Settings{ConsecutiveFailures: 5, SuccessRate: .8})
		b.ReportAllocs()
		for b.Loop() {
			p, _ := br.Allow()
			p.Report(Success)
		}
	})
	b.Run("closed, failures in between", func(b *testing.B) {
		br := New(Settings{ConsecutiveFailures: 5, SuccessRate: .3})
		var at time.Duration
		b.ReportAllocs()
		for b.Loop() {
			p, _ := br.Allow()
			p.ReportAt(Failure, at)
			p, _ = br.Allow()
			p.ReportAt(Success, at)
			at += step
		}
	})
	b.Run("open", func(b *testing.B) {
		br := New(Settings{ConsecutiveFailures: 1, Open: time.Hour, OpenMax: time.Hour})
		p, _ := br.Allow()
		p.Report(Failure)
		b.ReportAllocs()
		for b.Loop() {
			br.Allow()
		}
	})
}
