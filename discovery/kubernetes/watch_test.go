package kubernetes

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

func TestListsAndFollows(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")), slice1("orders-b", "95", pod("b", "10.0.0.2")))
		if u := w.wantIDs("a", "b"); u.Index != 100 || u.Unknown || u.States["ready"] != 2 || len(u.Problems) > 0 {
			t.Errorf("%+v", u)
		}
		stream := s.wantStream("100")
		if seconds, _ := strconv.Atoi(stream.URL.Query().Get("timeoutSeconds")); seconds < 240 || seconds > 360 {
			t.Errorf("the stream is asked to last %d s", seconds)
		}
		stream.send("ADDED", slice1("orders-c", "101", pod("c", "10.0.0.3")))
		w.wantIDs("a", "b", "c")
		stream.send("MODIFIED", slice1("orders-a", "102", pod("a", "10.0.0.1"), pod("d", "10.0.0.4")))
		w.wantIDs("a", "b", "c", "d")
		stream.send("DELETED", slice1("orders-b", "103", pod("b", "10.0.0.2")))
		w.wantIDs("a", "c", "d")
		// A bookmark changes nothing but shows that the stream is alive, and where to go on.
		stream.send("BOOKMARK", slice1("", "200"))
		if u := w.wantIDs("a", "c", "d"); u.Index != 200 {
			t.Errorf("%+v", u)
		}
		time.Sleep(4 * time.Minute)
		stream.end()
		stream = s.wantStream("200")
		w.wantQuiet(time.Second)
		stream.send("DELETED", slice1("orders-c", "201"))
		w.wantIDs("a", "d")
	})
}

func TestListComesInPages(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("100", "p2", slice1("orders-a", "1", pod("a", "10.0.0.1")))
		s.wantList("p2").list("100", "p3", slice1("orders-b", "1", pod("b", "10.0.0.2")))
		s.wantList("p3").fail(http.StatusGone, "The provided continue parameter is too old")
		s.wantList("").list("110", "p2", slice1("orders-b", "1", pod("b", "10.0.0.2")))
		s.wantList("p2").list("110", "", slice1("orders-c", "1", pod("c", "10.0.0.3")))
		w.wantIDs("b", "c")
		s.wantStream("110")
	})
}

// What the server has forgotten is listed again, told by the answer's status or in the stream.
func TestGoneVersionIsListedAgain(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		s.wantStream("100").fail(http.StatusGone, "too old resource version")
		s.wantList("").list("200", "", slice1("orders-a", "90", pod("b", "10.0.0.2")))
		w.wantIDs("b")
		stream := s.wantStream("200")
		stream.send("ERROR", map[string]any{"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 200 (500)"})
		stream.end()
		s.wantList("").list("600", "")
		if u := w.wantIDs(); u.Unknown {
			t.Errorf("it was known a moment ago: %+v", u)
		}
		s.wantStream("600")
	})
}

func TestErrorInTheStreamIsReported(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		s.wantStream("100").send("ERROR", map[string]any{"kind": "Status", "code": 500, "message": "etcdserver: no leader"})
		w.wantErr(time.Second, "cannot answer (500: etcdserver: no leader); see its log")
		s.wantList("")
	})
}

func TestBrokenStreamLeadsToAList(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		stream := s.wantStream("100")
		stream.begin()
		time.Sleep(time.Minute)
		// The server was replaced: no error, as long as the list succeeds.
		stream.cut()
		s.wantList("").list("101", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		// But if each stream breaks at once, nothing is followed, and that has to be said.
		stream = s.wantStream("101")
		stream.begin()
		stream.cut()
		w.wantErr(time.Second, "it closed the connection, as it does when it restarts")
		s.wantList("").list("102", "")
		w.wantIDs()
		stream = s.wantStream("102")
		stream.begin()
		stream.end()
		w.wantErr(time.Second, "the stream of changes has ended at once")
	})
}

func TestUnknownIsWhatHasNoSlice(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("100", "")
		if u := w.wantIDs(); !u.Unknown {
			t.Errorf("%+v", u)
		}
		stream := s.wantStream("100")
		stream.send("ADDED", slice1("orders-a", "101"))
		if u := w.wantIDs(); u.Unknown {
			t.Errorf("an empty slice is known: %+v", u)
		}
		stream.send("DELETED", slice1("orders-a", "102"))
		if u := w.wantIDs(); u.Unknown {
			t.Errorf("it was known a moment ago: %+v", u)
		}
	})
}

func TestRefreshListsAgain(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		source := s.client.Source(Query{Service: "orders"})
		discovery.Refresh(source) // no reason to look twice
		w := start(t, source)
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		stream := s.wantStream("100")
		stream.begin()
		time.Sleep(time.Minute)
		asked := time.Now()
		for range 10 {
			discovery.Refresh(w.source)
		}
		r := s.wantList("")
		if after := time.Since(asked); after > 0 {
			t.Errorf("asked after %v", after)
		}
		select {
		case <-stream.Context().Done(): // the old stream is closed
		case <-time.After(time.Second):
			t.Error("the old stream goes on")
		}
		r.list("101", "", slice1("orders-a", "90", pod("b", "10.0.0.2")))
		w.wantIDs("b")
		s.wantStream("101").begin()
		// Whoever asks all the time is answered twice per second.
		before := s.asked.Load()
		for range 1000 {
			discovery.Refresh(w.source)
			if r := s.request(10 * time.Millisecond); r != nil && !r.URL.Query().Has("watch") {
				r.list("101", "", slice1("orders-a", "90", pod("b", "10.0.0.2")))
			} else if r != nil {
				r.begin()
			}
		}
		if n := s.asked.Load() - before; n > 25 || n < 10 {
			t.Errorf("%d requests in 10 s", n)
		}
	})
}

func TestConstantChangeIsCoalescedAndASingleOneIsNotDelayed(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("0", "", slice1("orders-a", "0"))
		w.wantIDs()
		stream := s.wantStream("0")
		stream.begin()
		time.Sleep(time.Minute)
		changed := time.Now()
		stream.send("MODIFIED", slice1("orders-a", "1", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		if after := time.Since(changed); after > settleTime {
			t.Errorf("a single change is reported after %v", after)
		}
		// The control plane moves a pod: nobody sees the moment at which it is in no slice.
		stream.send("MODIFIED", slice1("orders-a", "2"))
		stream.send("ADDED", slice1("orders-b", "3", pod("a", "10.0.0.1")))
		w.wantIDs("a")

		time.Sleep(time.Minute)
		for i := range 2000 { // 20 s
			stream.send("MODIFIED", slice1("orders-b", strconv.Itoa(10+i), pod(fmt.Sprint("p", i), "10.0.0.1")))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(successEvery)
		synctest.Wait()
		n := len(w.updates)
		if n < 38 || n > 46 {
			t.Errorf("%d reports in 20 s of constant change", n)
		}
		for range n - 1 {
			<-w.updates
		}
		w.wantIDs("p1999")
	})
}

func TestServerThatEndsEachStreamIsNotAskedInABusyLoop(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		s.watch()
		for begin := time.Now(); time.Since(begin) < time.Minute; {
			r := s.request(time.Minute)
			if r.URL.Query().Has("watch") {
				r.send("BOOKMARK", slice1("", "7")) // heard of, and ended
				r.end()
			} else {
				r.list("7", "")
			}
		}
		if n := s.asked.Load(); n > 125 || n < 60 {
			t.Errorf("%d requests in a minute", n)
		}
	})
}
