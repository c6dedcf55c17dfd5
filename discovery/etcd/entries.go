package etcd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"sidecar/discovery"
)

const (
	// maxKeys and maxBytes bound what one prefix may hold: 50,000 instances are far more than any
	// service has, and a prefix that is too short (such as "/") is not.
	maxKeys  = 50_000
	maxBytes = 64 << 20
)

var errTooMuch = errors.New("the prefix holds more than 50000 keys or 64 MiB; is it too short? Correct it")

// entries are the keys below a prefix with what their values say.
type entries struct {
	prefix string
	keys   map[string]entry // by key without the prefix
	bytes  int              // the sum of size
}

// An entry is what one value says: an instance, or why there is none.
type entry struct {
	instance discovery.Instance
	problem  error
	size     int // of key and value
}

func newEntries(prefix string) *entries {
	return &entries{prefix: prefix, keys: make(map[string]entry)}
}

// put takes in a key with its value. It fails when there are more of them than any service has.
func (e *entries) put(kv *mvccpb.KeyValue) error {
	name, ok := strings.CutPrefix(string(kv.GetKey()), e.prefix)
	if !ok {
		return nil // not what was asked for
	}
	e.remove(name)
	inst, err := parse(name, kv.GetValue())
	size := len(kv.GetKey()) + len(kv.GetValue())
	if err != nil {
		inst, size = discovery.Instance{}, min(size, 2*maxText+len(kv.GetKey()))
	}
	e.bytes += size
	e.keys[name] = entry{inst, err, size}
	if len(e.keys) > maxKeys || e.bytes > maxBytes {
		return errTooMuch
	}
	return nil
}

// delete forgets a key.
func (e *entries) delete(kv *mvccpb.KeyValue) {
	if name, ok := strings.CutPrefix(string(kv.GetKey()), e.prefix); ok {
		e.remove(name)
	}
}

func (e *entries) remove(name string) {
	e.bytes -= e.keys[name].size
	delete(e.keys, name)
}

// set is what the entries say together: the instances in canonical form, and the problems of
// those that are left out. Of several with one ID or one address the first by key stands.
func (e *entries) set() ([]discovery.Instance, []string) {
	instances := make([]discovery.Instance, 0, len(e.keys))
	var problems []string
	byID, byAddress := make(map[string]string, len(e.keys)), make(map[string]string, len(e.keys))
	for _, name := range slices.Sorted(maps.Keys(e.keys)) {
		it := e.keys[name]
		first, sameID := byID[it.instance.ID]
		other, sameAddress := byAddress[it.instance.Address]
		switch {
		case it.problem != nil:
			problems = append(problems, fmt.Sprintf("%.200q: %v", name, it.problem))
		case sameID:
			problems = append(problems, fmt.Sprintf("%.200q: %q has its ID %q already; give each its own", name, first, it.instance.ID))
		case sameAddress:
			problems = append(problems, fmt.Sprintf("%.200q: %q has its address %s already; delete one of them", name, other, it.instance.Address))
		default:
			byID[it.instance.ID], byAddress[it.instance.Address] = name, name
			instances = append(instances, it.instance)
		}
	}
	return discovery.Canonical(instances), discovery.Few(problems)
}
