package tracing

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
)

func partly(rejected int64, text string) answer {
	return answer{status: 200, body: &collector.ExportTraceServiceResponse{
		PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: rejected, ErrorMessage: text},
	}}
}

func TestSpansThatAreRejectedAreCountedAndTold(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	r := &receiver{answers: []answer{partly(2, "too old\n\x1b[31m"), partly(1, "again"), partly(0, "a warning"), {status: 200}, partly(99, "more than there were"), partly(-1, "")}}
	story(t, r, Options{Log: zap.New(core)}, func(t *testing.T, tr *Tracer, l *loop) {
		for range 6 {
			l.do(func() {
				for i := range 3 {
					span(tr.Shard(0), i)
				}
			})
			time.Sleep(3 * time.Second)
		}
		synctest.Wait()
		if got := tr.Counts(); got != (Counts{Exported: 1 + 2 + 3 + 3, Failed: 2 + 1 + 3 + 3}) {
			t.Errorf("%+v", got)
		}
		if tr.Trouble() != nil {
			t.Error("a collector that answers is no trouble")
		}
	})
	lines := logs.All()
	if len(lines) != 2 { // once for as long as it goes on
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	if got := lines[0].ContextMap(); got["rejected"] != uint64(2) || got["of"] != uint64(3) || got["message"] != "too old??[31m" {
		t.Errorf("%v", got)
	}
}

func TestWhatTheCollectorSaysIsTold(t *testing.T) {
	r := &receiver{answers: []answer{{status: 400, body: status.New(codes.InvalidArgument, "no tenant"+strings.Repeat("!", 1000)).Proto()}}}
	story(t, r, Options{}, func(t *testing.T, tr *Tracer, l *loop) {
		l.do(func() { span(tr.Shard(0), 1) })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		text := tr.Trouble().Err.Error()
		if !strings.HasPrefix(text, "the collector answers 400 Bad Request: no tenant!!") || len(text) > 300 {
			t.Errorf("%q", text)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, m := range []proto.Message{partly(2, "text").body, status.New(codes.Unknown, "no").Proto(), &collector.ExportTraceServiceResponse{}} {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, partial := find(raw, responsePartial)
		rejected, _ := find(partial, partialRejected)
		_, text := find(partial, partialMessage)
		var m collector.ExportTraceServiceResponse
		if proto.Unmarshal(raw, &m) != nil || strings.Count(string(raw), "\x0a") != 1 {
			return // it is enough that it has come here
		}
		if p := m.PartialSuccess; p != nil && (uint64(p.RejectedSpans) != rejected || p.ErrorMessage != string(text)) {
			t.Errorf("%x: %d %q, want %v", raw, rejected, text, p)
		}
	})
}
