package nacos

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEachVersionIsAskedInItsWay(t *testing.T) {
	for _, c := range []struct{ version, path, clusters, body string }{
		{"v1", listV1, "clusters", listOf(hostAt("10.0.0.1", `"weight":2.0,"metadata":{"zone":"b","k":"v"}`))},
		{"v2", listV2, "clusterName", enveloped(listOf(hostAt("10.0.0.1", `"weight":2.0,"metadata":{"zone":"b","k":"v"}`)))},
		{"v3", listV3, "clusterName", enveloped("[" + hostAt("10.0.0.1", `"weight":2.0,"metadata":{"zone":"b","k":"v"}`) + "]")},
	} {
		for _, given := range []string{c.version, "", "auto"} {
			story(t, Options{Version: given, Namespace: "n-1"}, func(t *testing.T, f *fake) {
				f.answer(c.path, 200, c.body)
				w := f.watch(Query{Service: "orders", Group: "g", Clusters: []string{"a", "b"}})
				u := w.wantSet("10.0.0.1:80*2")
				if got := u.Instances[0]; got.ID != "10.0.0.1#80#DEFAULT#DEFAULT_GROUP@@orders" || got.Zone != "b" || got.Meta["k"] != "v" {
					t.Errorf("%+v", got)
				}
				if u.States["healthy"] != 1 || u.Unknown || u.At.IsZero() {
					t.Errorf("%+v", u)
				}
				r := f.request()
				if p := r.Form; p.Get("serviceName") != "orders" || p.Get("groupName") != "g" || p.Get("namespaceId") != "n-1" ||
					p.Get(c.clusters) != "a,b" || p.Get("healthyOnly") != "false" || r.Header.Get("Authorization") != "" {
					t.Errorf("%s %q: asked %v", c.version, given, r.URL)
				}
				pass(time.Hour)
				for _, path := range []string{listV1, listV2, listV3} { // which it speaks is remembered
					if n := f.count("n1:8848 " + path); path != c.path && n > 1 {
						t.Errorf("%s %q: %d requests for %s", c.version, given, n, path)
					}
				}
			})
		}
	}
}

func TestGivenVersionIsNotLeft(t *testing.T) {
	story(t, Options{Version: "v2"}, func(t *testing.T, f *fake) {
		f.answer(listV1, 200, listOf(hostAt("10.0.0.1")))
		f.watch(Query{Service: "orders"}).wantErr("has no Nacos API at this address (404: Not Found); correct nacos.addresses")
	})
}

func TestServerThatIsUpgradedIsFollowed(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.answer(listV1, 200, listOf(hostAt("10.0.0.1")))
		w := f.watch(Query{Service: "orders"})
		w.wantSet("10.0.0.1:80*1")
		f.answer(listV1, 410, `{"code":30000,"message":"Current API will be deprecated","data":""}`)
		f.answer(listV3, 200, enveloped("["+hostAt("10.0.0.1")+"]"))
		w.wantSet("10.0.0.1:80*1")
	})
}

func TestUnknownIsToldFromEmpty(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.answer(listV2, 200, enveloped(listOf()))
		w := f.watch(Query{Service: "orders"})
		if u := w.wantSet(); !u.Unknown {
			t.Error("nobody has ever registered it")
		}
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1", `"healthy":false`))))
		if u := w.wantSet(); u.Unknown || u.States["unhealthy"] != 1 || u.States["healthy"] != 0 {
			t.Errorf("it has an instance: %+v", u)
		}
		f.answer(listV2, 200, enveloped(listOf()))
		if u := w.wantSet(); u.Unknown {
			t.Error("it was there a moment ago")
		}
	})
	for body, status := range map[string]int{
		`{"code":21008,"message":"service not exist","data":"service not found, namespace: public, serviceName: DEFAULT_GROUP@@orders"}`: 200,
		`{"code":21008, "message":"service not exist","data":null}`:                                                                      400,
		"caused: service not found: DEFAULT_GROUP@@orders@public;":                                                                       500,
		"caused: service: DEFAULT_GROUP@@orders not found.;":                                                                             404,
	} {
		story(t, Options{}, func(t *testing.T, f *fake) {
			f.answer(listV2, status, body)
			if u := f.watch(Query{Service: "orders"}).wantSet(); !u.Unknown {
				t.Errorf("%d %s is not unknown", status, body)
			}
		})
	}
}

func TestTheServerSaysHowOftenItIsAsked(t *testing.T) {
	for _, c := range []struct {
		millis      string
		poll        time.Duration
		least, most int // requests in ten minutes
	}{
		{"10000", 0, 53, 68},
		{"3000", 0, 180, 224},
		{"1", 0, 540, 670},
		{"3600000", 0, 53, 68},
		{"0", 0, 180, 224},
		{"-1e300", 0, 180, 224},
		{"10000", time.Minute, 9, 13},
		{"10000", 100 * time.Millisecond, 5400, 6700},
	} {
		story(t, Options{}, func(t *testing.T, f *fake) {
			f.answer(listV2, 200, enveloped(`{"hosts":[`+hostAt("10.0.0.1")+`],"cacheMillis":`+c.millis+`}`))
			w := f.watch(Query{Service: "orders", Poll: c.poll})
			pass(10 * time.Minute)
			synctest.Wait()
			if n := f.count("n1:8848 " + listV2); n < c.least || n > c.most || len(w.updates) != n {
				t.Errorf("cacheMillis %s, poll %v: asked %d times in ten minutes, %d updates", c.millis, c.poll, n, len(w.updates))
			}
			if f.dialled > 30 {
				t.Errorf("%d connections", f.dialled)
			}
		})
	}
}

func TestRefreshLeadsToOneLookAndManyAreLimited(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
		w := f.watch(Query{Service: "orders", Poll: time.Hour})
		pass(10 * time.Second)
		w.drain()
		for range 10 {
			w.source.(*source).Refresh()
		}
		pass(10 * time.Second)
		if n := len(w.updates); n != 1 {
			t.Errorf("%d looks after ten calls in a row", n)
		}
		w.drain()
		for range 1000 { // ten seconds
			w.source.(*source).Refresh()
			pass(10 * time.Millisecond)
		}
		synctest.Wait()
		if n := len(w.updates); n < 15 || n > 10*2+successBurst+1 {
			t.Errorf("%d looks in 10 s, want 2 per second and a burst of %d", n, successBurst)
		}
	})
}

func TestAnotherServerIsAskedWhenOneFails(t *testing.T) {
	servers := Options{Addresses: []string{"n1:8848", "n2:8848", "n3:8848"}}
	for name, fail := range map[string]func(f *fake, host string){
		"down":    func(f *fake, host string) { f.setDown(host, true) },
		"hanging": func(f *fake, host string) { f.answer(host+" "+listV2, 0, "") },
		"starting": func(f *fake, host string) {
			f.answer(host+" "+listV2, 503, "server is STARTING now, please try again later!")
		},
		"not Nacos": func(f *fake, host string) { f.answer(host+" "+listV2, 200, "<html>") },
	} {
		story(t, servers, func(t *testing.T, f *fake) {
			f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
			fail(f, "n1:8848")
			fail(f, "n2:8848")
			w := f.watch(Query{Service: "orders", Poll: time.Second})
			for range 20 {
				w.wantSet("10.0.0.1:80*1")
			}
			if n := f.count("n3:8848 " + listV2); n < 20 {
				t.Errorf("%s: the one that answers was asked %d times", name, n)
			}
			if n := f.count("n1:8848 "+listV2) + f.count("n2:8848 "+listV2); n > 4 {
				t.Errorf("%s: those that fail were asked %d times", name, n)
			}
		})
	}
	story(t, servers, func(t *testing.T, f *fake) {
		for _, host := range servers.Addresses {
			f.setDown(host, true)
		}
		w := f.watch(Query{Service: "orders"})
		const one = "is not there: connection refused; start it or correct nacos.addresses"
		w.wantErr(fmt.Sprintf(`nacos: watch "orders": server at n1:8848 %s; server at n2:8848 %s; server at n3:8848 %s`, one, one, one))
		pass(time.Minute)
		w.drain()
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
		f.setDown("n2:8848", false)
		for back := time.Now(); ; {
			if u := w.next(); u.Err == nil {
				t.Logf("back after %v", time.Since(back))
				if time.Since(back) > 5*time.Second {
					t.Errorf("back after %v", time.Since(back))
				}
				break
			}
		}
	})
}

// However many servers there are, each of them is asked soon, and has its whole time to answer.
func TestServersThatAreSilentDoNotKeepTheOthersFromBeingAsked(t *testing.T) {
	for n := 1; n <= 12; n++ {
		var o Options
		for i := range n {
			o.Addresses = append(o.Addresses, fmt.Sprintf("n%d:8848", i+1))
		}
		story(t, o, func(t *testing.T, f *fake) {
			began := time.Now()
			for _, host := range o.Addresses {
				f.answer(host+" "+listV2, 0, "")
			}
			w := f.watch(Query{Service: "orders"})
			err := w.wantErr("does not answer within 3s").Error()
			if strings.Count(err, "server at") != n || strings.Index(err, "n1:") > strings.Index(err, fmt.Sprintf("n%d:", n)) {
				t.Errorf("not every server has its turn in %v", err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("%d servers: it takes %v", n, took)
			}

			// Whichever returns first is heard, also during a lookup.
			pass(time.Minute)
			w.drain()
			f.answer(o.Addresses[n-1]+" "+listV2, 200, enveloped(listOf(hostAt("10.0.0.1"))))
			for back := time.Now(); w.next().Err != nil; {
				if time.Since(back) > 5*time.Second {
					t.Fatalf("%d servers: back after %v", n, time.Since(back))
				}
			}
		})
	}
}

func TestFailuresAreRetriedSoonAndNotInABusyLoop(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.answer(listV2, 500, "caused: no;")
		w := f.watch(Query{Service: "orders"})
		pass(time.Minute)
		synctest.Wait()
		if n := len(w.updates); n < 55 || n > 130 {
			t.Errorf("%d lookups in a minute of failures", n)
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	for name, prepare := range map[string]func(f *fake){
		"between two answers":  func(f *fake) { f.answer(listV2, 200, enveloped(listOf())) },
		"while it waits":       func(f *fake) { f.answer(listV2, 0, "") },
		"after an error":       func(f *fake) { f.answer(listV2, 500, "") },
		"while it logs in":     func(f *fake) { f.answer(login, 0, "") },
		"while nobody answers": func(f *fake) { f.setDown("n1:8848", true) },
	} {
		story(t, Options{Username: "me", Password: "x"}, func(t *testing.T, f *fake) {
			f.answer(login, 200, `{"accessToken":"t","tokenTtl":18000,"globalAdmin":false}`)
			prepare(f)
			w := f.watch(Query{Service: "orders"})
			pass(time.Second + time.Millisecond)
			w.drain()
			began := time.Now()
			w.stop()
			if time.Since(began) != 0 || len(w.updates) != 0 {
				t.Errorf("%s: ended after %v, with %d more updates", name, time.Since(began), len(w.updates))
			}
		})
	}
}

func TestNameThatIsNoneIsReportedOnce(t *testing.T) {
	for _, name := range []string{"", " ", "DEFAULT_GROUP@@orders"} {
		story(t, Options{}, func(t *testing.T, f *fake) {
			w := f.watch(Query{Service: name})
			w.wantErr("that is no service's name; correct it")
			pass(time.Hour)
			if len(w.updates) != 0 || f.dialled != 0 {
				t.Errorf("%q: %d more updates, %d connections", name, len(w.updates), f.dialled)
			}
		})
	}
}
