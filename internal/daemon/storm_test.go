package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// A storm is reloads from several goroutines, with everybody looking.
type storm struct {
	*reloading
	texts   []string
	reloads atomic.Int64 // that have succeeded
	end     chan struct{}
	all     sync.WaitGroup
}

// reload goes from one configuration to the next until it is told that the daemon stops.
func (s *storm) reload(t *testing.T, i int) {
	for ; ; i++ {
		s.text.Store(&s.texts[i%len(s.texts)])
		_, err := s.Reload(t.Context())
		switch {
		case err == nil:
			s.reloads.Add(1)
		case s.serving.Err() == nil:
			t.Error(err)
			return
		case errors.Is(err, errStopping):
			return
		}
	}
}

// each calls f until the storm is over.
func (s *storm) each(f func()) {
	s.all.Go(func() {
		for {
			select {
			case <-s.end:
				return
			default:
				f()
			}
		}
	})
}

// Whatever several people ask for at the same time, requests are answered, and the stop comes to its end.
func TestReloadsFromEverywhereUnderTrafficAndAStop(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		dir, endpoint := t.TempDir(), says(t, "x").address
		p := filepath.Join(dir, "p")
		s := &storm{end: make(chan struct{})}
		for i := range 6 {
			change := []string{"", "breaker = { consecutive_failures = 7 }\n", "timeout = { connect = \"2s\" }\n"}[i%3]
			s.texts = append(s.texts, "[admin]\nlisten = \"unix:"+dir+"/admin\"\n"+
				text("orders", "http", "unix:"+p, endpoint)+change+text(fmt.Sprint("s", i), []string{"tcp", "http"}[i%2], "127.0.0.1:0", endpoint))
		}
		s.reloading = runPatient(t, s.texts[0])
		for i := range 4 {
			s.all.Go(func() { s.reload(t, i) })
		}
		var answers atomic.Int64
		for range 2 {
			s.each(func() {
				code, body, err := fetch(p)
				if err == nil && code == http.StatusOK && body == "x" {
					answers.Add(1)
				} else if s.serving.Err() == nil {
					t.Errorf("got %d %q, %v", code, body, err)
				}
			})
		}
		s.each(func() {
			s.Status()
			s.AdminAddress()
		})
		s.each(func() {
			s.metrics.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
		})
		until(t, "there were many reloads and requests", func() bool { return t.Failed() || s.reloads.Load() >= 100 && answers.Load() >= 100 })
		if err := s.running.end(t); err != nil {
			t.Error(err)
		}
		close(s.end)
		s.all.Wait()
	})
}
