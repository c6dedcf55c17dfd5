package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"sidecar/internal/servertest"
)

// An etcdServer is asked through its JSON gateway, one connection per call: nothing of ours
// remembers that it was away.
type etcdServer struct {
	*servertest.Server
	t *testing.T
}

func startEtcd(t *testing.T) etcdServer {
	t.Helper()
	return etcdServer{servertest.Etcd(t), t}
}

// once keeps no connections, so that none is left when a test has ended.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// call makes a call of etcd's API. In and out are as in its documentation: []byte is base64.
func (e etcdServer) call(path string, in, out any) {
	e.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		e.t.Fatal(err)
	}
	resp, err := once.Post("http://"+e.Address()+path, "application/json", bytes.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		e.t.Fatalf("etcd %s: %v", path, err)
	}
}

func key(o *origin) []byte { return []byte("/services/orders/" + o.name) }

// put writes the key of an instance, as plain text.
func (e etcdServer) put(o *origin) {
	e.t.Helper()
	e.call("/v3/kv/put", map[string][]byte{"key": key(o), "value": []byte(o.address)}, nil)
}

// putJSON is put with a document.
func (e etcdServer) putJSON(o *origin) {
	e.t.Helper()
	value := fmt.Appendf(nil, `{"address": "127.0.0.1", "port": %d, "zone": "a"}`, o.port())
	e.call("/v3/kv/put", map[string][]byte{"key": key(o), "value": value}, nil)
}

func (e etcdServer) remove(o *origin) {
	e.t.Helper()
	e.call("/v3/kv/deleterange", map[string][]byte{"key": key(o)}, nil)
}

// get is the value of a key; empty: there is none.
func (e etcdServer) get(key string) string {
	e.t.Helper()
	var got struct {
		KVs []struct {
			Value []byte `json:"value"`
		} `json:"kvs"`
	}
	e.call("/v3/kv/range", map[string][]byte{"key": []byte(key)}, &got)
	if len(got.KVs) == 0 {
		return ""
	}
	return string(got.KVs[0].Value)
}

func (e etcdServer) config() string { return fmt.Sprintf("[etcd]\nendpoints = [%q]\n", e.Address()) }

func TestAServiceInEtcd(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	one := serveOrigins(t, "first", "second", "third", "fourth")
	etcd.put(one[0])
	f := follow(t, etcd.config(), `source = "etcd"`)

	etcd.putJSON(one[1])
	f.wantTraffic(one[1])
	f.wantLine("etcd /services/orders/: 2 instances", "index")
	etcd.remove(one[1])
	f.wantGone(one[1])

	etcd.Stop()
	f.wantFailing("etcd", etcd.Address(), "refused", "etcd.endpoints")
	f.outlast(2 * time.Second)
	etcd.Start()
	back := time.Now()
	etcd.put(one[2])
	f.wantResumed(one[2], back)

	etcd.Pause()
	paused := time.Now()
	f.wantFailing("etcd", etcd.Address())
	f.outlast(10*time.Second - time.Since(paused))
	etcd.Resume()
	back = time.Now()
	etcd.put(one[3])
	f.wantResumed(one[3], back)
	etcd.remove(one[2])
	f.wantGone(one[2])
	f.end(2)
}

// The sidecar is restarted while etcd is away, and serves what it has kept on disk.
func TestAServiceInEtcdIsServedFromDisk(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	one := serveOrigins(t, "first", "second", "third")
	etcd.put(one[0])
	etcd.put(one[1])
	dir, config := keeping(t)
	f := follow(t, config+etcd.config(), `source = "etcd"`)
	within(t, patience, "the instances are on disk", func() bool { return holds(dir, one[0].address) && holds(dir, one[1].address) })
	f.load.end(t)
	f.checked = true
	f.kill()
	etcd.Stop()

	began := time.Now()
	f.sidecar = start(t, f.config)
	address := f.address("orders")
	within(t, soon, "it serves from disk", func() bool { return get(t, address, "/").status == http.StatusOK })
	t.Logf("it serves from disk %v after its start (required: 1s)", time.Since(began).Round(time.Millisecond))
	f.waitReady()
	f.waitTotal("orders", 2)
	if text := f.statusText(); !hasAll(text, []string{"etcd has not answered yet, the set on disk is as of"}) {
		t.Errorf("the status does not say where the set is from:\n%s", text)
	}
	f.ask()
	f.wantFailing("etcd", etcd.Address(), "refused")
	etcd.Start()
	back := time.Now()
	etcd.put(one[2])
	f.wantResumed(one[2], back)
	f.end(1)
	if f.service("orders").Source.Stored {
		t.Error("the status says that the set is that on disk, after etcd has answered")
	}
}
