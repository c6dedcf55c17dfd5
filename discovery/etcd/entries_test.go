package etcd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"sidecar/discovery"
)

func put(t *testing.T, e *entries, key, value string) {
	t.Helper()
	if err := e.put(&mvccpb.KeyValue{Key: []byte(key), Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

func ids(e *entries) string {
	instances, _ := e.set()
	var out []string
	for _, in := range instances {
		out = append(out, in.ID)
	}
	return strings.Join(out, " ")
}

func TestEntriesFollowPutAndDelete(t *testing.T) {
	e := newEntries("/s/orders/")
	put(t, e, "/s/orders/b", "b:1")
	put(t, e, "/s/orders/a/x", "a:1")
	put(t, e, "/s/orders2/c", "c:1") // another service
	if got := ids(e); got != "a/x b" {
		t.Errorf("set %q", got)
	}
	put(t, e, "/s/orders/b", "b:2")
	if in, _ := e.set(); in[1].Address != "b:2" {
		t.Errorf("set %+v", in)
	}
	for _, key := range []string{"/s/orders/a/x", "/s/orders/never", "/s/orders2/b", "/s/orders/b"} {
		e.delete(&mvccpb.KeyValue{Key: []byte(key)})
	}
	if got := ids(e); got != "" || e.bytes != 0 {
		t.Errorf("set %q, %d bytes", got, e.bytes)
	}
}

func TestDuplicatesAreProblemsAndTheFirstStands(t *testing.T) {
	e := newEntries("/s/")
	put(t, e, "/s/d", "d:0")
	put(t, e, "/s/c", `{"id":"one","address":"c:1"}`)
	put(t, e, "/s/b", "a:1")
	put(t, e, "/s/a", `{"id":"one","address":"a:1"}`)
	instances, problems := e.set()
	if len(instances) != 1 || instances[0].Address != "a:1" || instances[0].ID != "one" {
		t.Errorf("set %+v", instances)
	}
	want := []string{
		`"b": "a" has its address a:1 already; delete one of them`,
		`"c": "a" has its ID "one" already; give each its own`,
		`"d": instance "d:0": port "0" is not a number from 1 to 65535`,
	}
	if !slices.Equal(problems, want) {
		t.Errorf("problems\n%s\nwant\n%s", strings.Join(problems, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatAPrefixMayHoldIsBounded(t *testing.T) {
	e := newEntries("/s/")
	for i := range maxKeys {
		put(t, e, fmt.Sprintf("/s/%06d", i), "nothing that can be dialled")
	}
	if err := e.put(&mvccpb.KeyValue{Key: []byte("/s/x"), Value: []byte("x:1")}); err == nil {
		t.Error("one key more than may be was taken")
	}
	if _, problems := e.set(); len(problems) != discovery.MaxProblems+1 || problems[discovery.MaxProblems] != fmt.Sprintf("and %d more", maxKeys-discovery.MaxProblems) {
		t.Errorf("%d problems, the last %q", len(problems), problems[len(problems)-1])
	}

	e = newEntries("/s/")
	large := `{"address":"a:1","note":"` + strings.Repeat("x", maxValue-100) + `"}`
	for i := range maxBytes/len(large) - 1 {
		put(t, e, fmt.Sprintf("/s/%06d", i), large)
	}
	put(t, e, "/s/000000", large) // replaced, not added
	full := false
	for i := range 10 {
		full = full || e.put(&mvccpb.KeyValue{Key: []byte(fmt.Sprintf("/s/more%d", i)), Value: []byte(large)}) != nil
	}
	if !full {
		t.Errorf("%d bytes were taken", e.bytes)
	}
}
