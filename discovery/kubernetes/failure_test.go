package kubernetes

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/discovery"
)

func TestHangingServerIsGivenUpAtItsDeadlines(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		asked := time.Now()
		s.wantList("") // never answered
		w.wantErr(time.Minute, `kubernetes: watch "shop/orders": API server at http://10.9.0.1:8001: no answer within 5s; it hangs, or the network drops packets`)
		if after := time.Since(asked); after != answerTime {
			t.Errorf("the list is given up after %v", after)
		}
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		asked = time.Now()
		s.wantStream("100") // never begun
		w.wantErr(time.Minute, "no answer within 5s")
		if after := time.Since(asked); after != answerTime {
			t.Errorf("the stream is given up after %v", after)
		}

		r := s.wantList("")
		r.begin() // and then nothing
		w.wantErr(time.Minute, "no answer within 5s")

		s.wantList("").list("101", "")
		w.wantIDs()
		stream := s.wantStream("101")
		stream.begin() // and then nothing, not even the end that was agreed upon
		began := time.Now()
		r = nil
		for r == nil {
			r = s.request(time.Minute)
		}
		if after := time.Since(began); after < followLeast || after > followMost+followMargin {
			t.Errorf("the stream is given up after %v", after)
		}
		r.list("102", "")
		w.wantIDs()
	})
}

func TestServerThatIsDownIsAskedUntilItIsBack(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		w.wantIDs("a")
		stream := s.wantStream("100")
		stream.begin()
		time.Sleep(time.Minute)
		s.down.Store(true)
		stream.cut()
		w.wantErr(time.Second, `kubernetes: watch "shop/orders": API server at http://10.9.0.1:8001: dial tcp: connection refused; start it or correct kubernetes.address`)
		before := s.dialled.Load()
		time.Sleep(10 * time.Minute)
		if n := s.dialled.Load() - before; n < 300 || n > 620 {
			t.Errorf("asked %d times in 10 minutes, want every 1 to 2 s", n)
		}
		for len(w.updates) > 0 {
			w.wantErr(time.Second, "connection refused")
		}
		s.down.Store(false)
		up := time.Now()
		s.wantList("").list("101", "", slice1("orders-a", "90", pod("b", "10.0.0.2")))
		w.wantIDs("b")
		if after := time.Since(up); after > pauseMost {
			t.Errorf("asked %v after the server is back", after)
		}

		// The next outage begins with short pauses again.
		stream = s.wantStream("101")
		stream.begin()
		time.Sleep(time.Minute)
		before = s.dialled.Load()
		s.down.Store(true)
		stream.cut()
		time.Sleep(pauseFirst + 2*pauseFirst + 4*pauseFirst)
		if n := s.dialled.Load() - before; n < 3 {
			t.Errorf("asked %d times in the first moments of the second outage", n)
		}
	})
}

func TestRefreshEndsThePauseOfAnOutage(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.down.Store(true)
		time.Sleep(time.Minute)
		for len(w.updates) > 0 {
			<-w.updates
		}
		w.next(pauseMost) // the next one by itself is a second or more away
		w.source.(*source).Refresh()
		w.wantErr(successEvery, "connection refused")
	})
}

func TestAnswersAreExplained(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"forbidden": {403, `{"kind":"Status","message":"endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:shop:default\" cannot list resource","code":403}`,
			`API server at http://10.9.0.1:8001 refuses (403: endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:shop:default" cannot list resource); ` +
				"give the service account list and watch on endpointslices.discovery.k8s.io in namespace shop (a Role and a RoleBinding)"},
		"without a token": {401, `{"kind":"Status","message":"Unauthorized","code":401}`, "wants a token, which plain HTTP would tell everybody (401: Unauthorized); write kubernetes.address as https://…"},
		"not found":       {404, "404 page not found\n", "does not serve discovery.k8s.io/v1 (404: 404 page not found); correct kubernetes.address"},
		"HTTPS":           {400, "Client sent an HTTP request to an HTTPS server.\n", "rejects the request (400: Client sent an HTTP request to an HTTPS server.); write kubernetes.address as https://…"},
		"nothing said":    {503, "", "cannot answer (503: Service Unavailable); see its log"},
		"redirect":        {302, "", "cannot answer (302: Found)"},
		"long":            {500, strings.Repeat("ä", 10_000), "ää …)"},
		"no JSON":         {200, "<html>welcome</html>", "invalid character '<' looking for beginning of value; that is no answer of Kubernetes: check what listens there"},
		"other JSON":      {200, `{"kind":"PodList","metadata":{"resourceVersion":"5"}}`, `a list of kind "PodList" at version "5"; that is no answer of Kubernetes`},
		"no version":      {200, `{"kind":"EndpointSliceList"}`, `at version ""; that is no answer of Kubernetes`},
		"empty pages":     {200, `{"kind":"EndpointSliceList","metadata":{"resourceVersion":"5","continue":"x"}}`, "an empty page that is not the last; that is no answer of Kubernetes"},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, s *apiServer) {
				w := s.watch()
				s.wantList("").answer(c.status, nil, c.body)
				u := w.wantErr(time.Second, c.want)
				if answer := u.Err; len(answer.Error()) > 800 || strings.Contains(answer.Error(), "\ufffd") {
					t.Errorf("%d bytes: %q", len(answer.Error()), answer)
				}
				if answer, ok := errors.AsType[answerError](u.Err); c.status != 200 && (!ok || answer.StatusCode() != c.status) {
					t.Errorf("the answer is not in the chain of %v", u.Err)
				}
				s.wantList("") // it goes on
			})
		})
	}
}

// Whoever may list and not watch has its set all the same, and is told so.
func TestListThatIsAllowedAndNotTheStreamIsPolled(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		for i := range 20 {
			s.wantList("").list("100", "", slice1("orders-a", "90", pod(fmt.Sprint("p", i), "10.0.0.1")))
			u := w.wantIDs(fmt.Sprint("p", i))
			if i == 0 {
				wantProblems(t, u)
			} else {
				wantProblems(t, u, `changes are polled for and not followed: kubernetes: watch "shop/orders": API server at http://10.9.0.1:8001 refuses (403: cannot watch resource); `+
					"give the service account list and watch on endpointslices.discovery.k8s.io in namespace shop (a Role and a RoleBinding)")
			}
			s.wantStream("100").fail(http.StatusForbidden, "cannot watch resource")
		}
		// Each look is two requests, every 1 to 2 s.
		before := s.asked.Load()
		for begin := time.Now(); time.Since(begin) < time.Minute; {
			s.wantList("").list("100", "", slice1("a", "90", endpoint{}))
			if u := w.wantErr(time.Second, "no endpoint is usable"); len(u.Problems) != 2 || !slices.IsSorted(u.Problems) {
				t.Fatalf("problems %q", u.Problems)
			}
			s.wantStream("100").fail(http.StatusForbidden, "cannot watch resource")
		}
		if n := s.asked.Load() - before; n < 60 || n > 100 {
			t.Errorf("%d requests in a minute", n)
		}
		s.wantList("").fail(http.StatusServiceUnavailable, "no quorum") // what fails is a failure
		w.wantErr(time.Second, "no quorum")

		// With the right, it ends, and that is told at once.
		s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
		if u := w.wantIDs("a"); len(u.Problems) != 1 {
			t.Errorf("problems %q", u.Problems)
		}
		stream := s.wantStream("100")
		stream.begin()
		wantProblems(t, w.wantIDs("a"))
		stream.send("ADDED", slice1("orders-b", "101", pod("b", "10.0.0.2")))
		wantProblems(t, w.wantIDs("a", "b"))
	})
}

func wantProblems(t *testing.T, u discovery.Update, want ...string) {
	t.Helper()
	if !slices.Equal(u.Problems, want) {
		t.Fatalf("problems %q,\nwant     %q", u.Problems, want)
	}
}

func TestServerThatAsksForAPauseGetsIt(t *testing.T) {
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		for header, want := range map[string]time.Duration{"3": 3 * time.Second, "86400": mostPause} {
			s.wantList("").answer(http.StatusTooManyRequests, map[string]string{"Retry-After": header}, "")
			w.wantErr(time.Second, "limits this client (429: Too Many Requests)")
			refused := time.Now()
			s.wantList("").list("100", "")
			w.wantIDs()
			if after := time.Since(refused); after < want || after > want+time.Second {
				t.Errorf("Retry-After %s: asked after %v", header, after)
			}
			s.wantStream("100").fail(http.StatusInternalServerError, "see below")
			w.wantErr(time.Second, "see below")
		}
	})
}

func TestMalformedEventsEndTheStream(t *testing.T) {
	for line, want := range map[string]string{
		"hello":                             "invalid character 'h' looking for beginning of value; that is no answer of Kubernetes",
		`{"type":"RENAMED","object":{}}`:    `an event of type "RENAMED"; that is no answer of Kubernetes`,
		`{"type":"ADDED","object":7}`:       "that is no answer of Kubernetes",
		`{"type":"DELETED","object":{}}`:    "a slice without a name; that is no answer of Kubernetes",
		`{"type":"ERROR","object":"sorry"}`: "that is no answer of Kubernetes",
		strings.Repeat(" ", maxLine+1):      "an event is larger than 8 MiB",
	} {
		story(t, func(t *testing.T, s *apiServer) {
			w := s.watch()
			s.wantList("").list("100", "", slice1("orders-a", "90", pod("a", "10.0.0.1")))
			w.wantIDs("a")
			stream := s.wantStream("100")
			stream.begin()
			time.Sleep(time.Minute) // however well it went before
			stream.line(line)       // the large one is not read to its end
			w.wantErr(time.Second, want)
			s.wantList("")
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	// many is a page with some of the endpoints that are one too many.
	many := func(name, next string) string {
		return fmt.Sprintf(`{"kind":"EndpointSliceList","metadata":{"resourceVersion":"100","continue":%q},"items":[{"metadata":{"name":%q},"addressType":"IPv4","endpoints":[{}%s]}]}`,
			next, name, strings.Repeat(",{}", maxEndpoints/2-1))
	}
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").answer(200, nil, many("orders-a", "p2"))
		s.wantList("p2").answer(200, nil, many("orders-b", "p3"))
		s.wantList("p3").list("100", "", slice1("orders-c", "90"))
		w.wantErr(time.Second, "more than 100000 endpoints")

		s.wantList("").answer(200, nil, many("orders-a", "p2"))
		s.wantList("p2").answer(200, nil, many("orders-b", ""))
		w.wantErr(time.Second, "no endpoint is usable")
		s.wantStream("100").send("ADDED", slice1("orders-c", "101"))
		w.wantErr(time.Second, "more than 100000 endpoints")
	})
	// An answer that takes little room by itself is not decoded as a whole.
	small := func(list string) string {
		return `{"kind":"EndpointSliceList","metadata":{"resourceVersion":"100"},"items":` + list + `}`
	}
	for body, want := range map[string]string{
		small("[{}" + strings.Repeat(",{}", pageSize) + "]"):                     "a page of the list has more than the 100 slices that were asked for",
		small("[0" + strings.Repeat(",0", pageSize) + "]"):                       "a page of the list has more than the 100 slices that were asked for",
		small(`[{"endpoints":[{}` + strings.Repeat(",{}", maxEndpoints) + "]}]"): "more than 100000 endpoints",
		small(`[{"metadata":{"name":"a` + strings.Repeat("a", maxLine) + `"}}]`): "a slice is larger than 8 MiB",
		small("{}"):                  "is no list; that is no answer of Kubernetes",
		small("[7]"):                 "that is no answer of Kubernetes",
		small(`[{"endpoints":"x"}]`): "is no list; that is no answer of Kubernetes",
	} {
		story(t, func(t *testing.T, s *apiServer) {
			w := s.watch()
			s.wantList("").answer(200, nil, body)
			w.wantErr(time.Minute, want)
			s.wantList("").answer(200, nil, small("null")) // and null is an empty list, as Go's encoders write it
			if u := w.wantIDs(); !u.Unknown {
				t.Errorf("%+v", u)
			}
		})
	}
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		s.wantList("").list("100", "", slice1("orders-a", "90"))
		w.wantIDs()
		s.wantStream("100").line(`{"type":"ADDED","object":{"metadata":{"name":"b"},"endpoints":[{}` + strings.Repeat(",{}", maxEndpoints) + `]}}`)
		w.wantErr(time.Minute, "more than 100000 endpoints")
	})
	story(t, func(t *testing.T, s *apiServer) {
		w := s.watch()
		r := s.wantList("")
		r.do(false, func(w http.ResponseWriter) {
			_, err := w.Write([]byte(`{"kind":"EndpointSliceList","junk":"`))
			for junk := []byte(strings.Repeat("x", 1<<20)); err == nil; {
				_, err = w.Write(junk)
			}
		})
		w.wantErr(time.Minute, "the answer is larger than 40 MiB")
	})
}
