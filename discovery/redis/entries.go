package redis

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sidecar/discovery"
)

// An entry is an instance as Redis holds it.
type entry struct {
	id    string // the hash's field or what follows the prefix; empty in a set
	value string
}

// A value is the JSON form of an entry.
type value struct {
	Address string            `json:"address"`
	Port    *int              `json:"port"`
	ID      string            `json:"id"`
	Weight  *int              `json:"weight"`
	Zone    string            `json:"zone"`
	Meta    map[string]string `json:"meta"`
	Expires float64           `json:"expires"`
}

// A reading is what entries say at one moment.
type reading struct {
	instances []discovery.Instance
	problems  []string
	states    map[string]int // nil when no entry expires
	expiry    time.Time      // when the next of instances expires; zero: none does
}

// read turns entries into instances. Of those that share an ID or an address the first stands,
// in the order of IDs and values, so that the outcome does not depend on the order of a set.
func read(entries []entry, now time.Time) reading {
	var r reading
	type parsed struct {
		entry
		inst    discovery.Instance
		expires time.Time
		err     error
	}
	all := make([]parsed, len(entries))
	for i, e := range entries {
		p := parsed{entry: e}
		p.inst, p.expires, p.err = parse(e)
		all[i] = p
	}
	slices.SortFunc(all, func(a, b parsed) int {
		return cmp.Or(cmp.Compare(a.inst.ID, b.inst.ID), cmp.Compare(a.id, b.id), cmp.Compare(a.value, b.value))
	})
	ids, addresses := map[string]bool{}, map[string]string{}
	expired, expires := 0, false
	for _, p := range all {
		name := p.inst.ID
		switch {
		case p.err != nil:
			r.problem(cmp.Or(p.id, short(p.value)), p.err.Error())
			continue
		case !p.expires.IsZero() && !p.expires.After(now):
			expired, expires = expired+1, true
			continue
		case ids[name]:
			r.problem(name, "it is there twice; delete one of them")
			continue
		case addresses[p.inst.Address] != "":
			r.problem(name, fmt.Sprintf("%s has its address %s; delete one of them", addresses[p.inst.Address], p.inst.Address))
			continue
		}
		ids[name], addresses[p.inst.Address] = true, name
		r.instances = append(r.instances, p.inst)
		if !p.expires.IsZero() {
			expires = true
			if r.expiry.IsZero() || p.expires.Before(r.expiry) {
				r.expiry = p.expires
			}
		}
	}
	if expires {
		r.states = map[string]int{"live": len(r.instances), "expired": expired}
	}
	slices.Sort(r.problems)
	return r
}

func (r *reading) problem(name, what string) {
	r.problems = append(r.problems, fmt.Sprintf("%q: %s", name, what))
}

// parse reads one entry.
func parse(e entry) (inst discovery.Instance, expires time.Time, err error) {
	if strings.HasPrefix(strings.TrimSpace(e.value), "{") {
		inst, expires, err = parseJSON(e.value)
	} else if inst, err = discovery.ParseInstance(e.value); err != nil {
		err = fmt.Errorf("%s (value %q)", cause(err, e.value), short(e.value))
	}
	if e.id != "" {
		inst.ID = e.id
	}
	return inst, expires, err
}

func parseJSON(text string) (inst discovery.Instance, expires time.Time, err error) {
	var v value
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return inst, expires, fmt.Errorf("its %s cannot be %s; correct it (value %q)", wrong.Field, wrong.Value, short(text))
		}
		return inst, expires, fmt.Errorf(`%w; write JSON such as {"address": "10.0.0.1:8080"} (value %q)`, err, short(text))
	}
	address := v.Address
	if v.Port != nil {
		if address, err = discovery.HostPort(v.Address, *v.Port); err != nil {
			return inst, expires, err
		}
	}
	if strings.ContainsAny(address, " \t\r\n") {
		return inst, expires, fmt.Errorf("address %q has a space; in JSON weight and zone are fields of their own", short(address))
	}
	if address == "" {
		return inst, expires, errors.New(`it has no address; write {"address": "10.0.0.1:8080"}`)
	}
	inst, err = discovery.ParseInstance(address)
	if err != nil {
		return inst, expires, errors.New(cause(err, address))
	}
	if v.Weight != nil {
		if *v.Weight < 1 || *v.Weight > maxWeight {
			return inst, expires, fmt.Errorf("weight %d is not a number from 1 to %d", *v.Weight, maxWeight)
		}
		inst.Weight = *v.Weight
	}
	// Later than the year 9999 it is something else, such as milliseconds.
	if v.Expires < 0 || v.Expires > 253402300799 {
		return inst, expires, fmt.Errorf("expires %v is no time in Unix seconds", v.Expires)
	}
	if v.Expires > 0 {
		expires = time.UnixMilli(int64(v.Expires * 1000))
	}
	inst.ID, inst.Zone, inst.Meta = cmp.Or(v.ID, inst.ID), v.Zone, v.Meta
	return inst, expires, nil
}

// cause is what discovery.ParseInstance says without the text, of which the entry's name is enough.
func cause(err error, text string) string {
	return strings.TrimPrefix(err.Error(), fmt.Sprintf("instance %q: ", text))
}

const (
	// maxWeight is that of all sources.
	maxWeight = 65535
)

// short is the beginning of a value that somebody is told of.
func short(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
