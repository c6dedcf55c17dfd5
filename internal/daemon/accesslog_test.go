package daemon

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidecar/accesslog"
	"sidecar/internal/eventloop"
)

func TestTheAccessLogIsFlushedByItsLoopCountedAndClosed(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		r := run(t, fmt.Sprintf("[admin]\nlisten = \"127.0.0.1:0\"\n[access_log]\npath = %q\nformat = '$service $status'\n", path)+
			text("orders", "http", "127.0.0.1:0", "127.0.0.1:1"))
		log := func(status int) {
			t.Helper()
			if err := r.group.EachWait(t.Context(), func(l *eventloop.Loop) {
				if l.Index() == 0 {
					r.accessLog.Shard(0).Log(&accesslog.Record{Service: "orders", Status: status})
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		log(200)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for deadline := time.Now().Add(patience); ; {
			resp, err := client.Get("http://" + r.AdminAddress() + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(body), "sidecar_access_log_lines_total 1\n") &&
				strings.Contains(string(body), "sidecar_access_log_dropped_total 0\n") &&
				strings.Contains(string(body), "sidecar_access_log_write_errors_total 0\n") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("not flushed:\n%s", body)
			}
		}
		log(201) // which is written by the end
		if err := r.end(t); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "orders 200\norders 201\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
