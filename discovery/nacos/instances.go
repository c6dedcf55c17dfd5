package nacos

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"sidecar/discovery"
)

// A list is what a server answers: of all the fields those that decide something.
type list struct {
	Hosts *entries `json:"hosts"`
	// CacheMillis is how long clients may use the list.
	CacheMillis float64 `json:"cacheMillis"`
	// Protected tells that too few are healthy and all of them are to be taken. Newer servers
	// say of all of them that they are healthy, too.
	Protected bool `json:"reachProtectionThreshold"`
}

const (
	// maxHosts is more than a service has: 10,000 of them are some 5 MB of maxAnswer.
	maxHosts = 50_000
)

// entries are those of a list, which need not be instances.
type entries []json.RawMessage

// UnmarshalJSON gives up at maxHosts. By then an answer of entries like "1" would have taken
// 16 times its size.
func (e *entries) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return fmt.Errorf("%.20q is no list", text)
	}
	*e = entries{}
	for d.More() {
		if len(*e) == maxHosts {
			return errTooMany
		}
		var entry json.RawMessage
		if err := d.Decode(&entry); err != nil {
			return err
		}
		*e = append(*e, entry)
	}
	return nil
}

// A host is an instance as Nacos describes it.
type host struct {
	ID       string            `json:"instanceId"`
	IP       string            `json:"ip"`
	Port     int               `json:"port"`
	Weight   *float64          `json:"weight"`
	Healthy  *bool             `json:"healthy"`
	Enabled  *bool             `json:"enabled"`
	Metadata map[string]string `json:"metadata"`
}

// read takes the list out of an answer with status 200.
func (v version) read(body []byte) (l list, err error) {
	if v.envelope {
		var e struct {
			Code    *int            `json:"code"`
			Message string          `json:"message"`
			Data    json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(body, &e); err != nil || e.Code == nil {
			return l, malformed(err)
		}
		if *e.Code != 0 {
			return l, statusError{status: 200, code: *e.Code, text: oneLine(e.Message, "no reason is given")}
		}
		body = e.Data
	}
	if body = bytes.TrimSpace(body); bytes.HasPrefix(body, []byte("[")) { // v3
		l.Hosts = new(entries)
		err = json.Unmarshal(body, l.Hosts)
	} else {
		err = json.Unmarshal(body, &l)
	}
	if err != nil || l.Hosts == nil {
		return l, malformed(err)
	}
	return l, nil
}

func malformed(err error) error {
	if errors.Is(err, errTooMany) {
		return err
	}
	if err == nil {
		return fmt.Errorf("%w: it has no list of instances", errMalformed)
	}
	return fmt.Errorf("%w: %w", errMalformed, err)
}

// poll is when the list wants to be asked for again, within bounds.
func (l list) poll() time.Duration {
	if l.CacheMillis <= 0 {
		return defaultPoll
	}
	return time.Duration(min(max(l.CacheMillis, float64(pollLeast/time.Millisecond)), float64(pollMost/time.Millisecond))) * time.Millisecond
}

// instances are those that take traffic; the others are counted, or are problems.
func (l list) instances() (set []discovery.Instance, states map[string]int, problems []string) {
	if l.Hosts == nil {
		return nil, nil, nil
	}
	var hosts []host
	for i, raw := range *l.Hosts {
		var h host
		if err := json.Unmarshal(raw, &h); err != nil {
			problems = append(problems, fmt.Sprintf("entry %d: %v; register it again", i+1, err))
			continue
		}
		hosts = append(hosts, h)
	}
	// Which of two duplicates stands does not depend on the order, which servers do not keep.
	slices.SortStableFunc(hosts, func(a, b host) int {
		return cmp.Or(cmp.Compare(a.name(), b.name()), cmp.Compare(a.IP, b.IP), cmp.Compare(a.Port, b.Port))
	})
	states = map[string]int{"healthy": 0}
	ids, addresses := map[string]bool{}, map[string]string{}
	var weights []float64
	for _, h := range hosts {
		id := h.name()
		address, err := discovery.HostPort(h.IP, h.Port)
		switch {
		case err != nil:
			problems = append(problems, fmt.Sprintf("%q: %v", id, err))
			continue
		case ids[id]:
			problems = append(problems, fmt.Sprintf("%q: it is there twice; deregister one of them", id))
			continue
		case addresses[address] != "":
			problems = append(problems, fmt.Sprintf("%q: %q has its address %s; deregister one of them", id, addresses[address], address))
			continue
		}
		ids[id], addresses[address] = true, id
		state, takes := h.state(l.Protected)
		states[state]++
		if takes {
			set = append(set, discovery.Instance{ID: id, Address: address, Zone: h.Metadata["zone"], Meta: h.Metadata})
			weights = append(weights, h.weight())
		}
	}
	scale(set, weights)
	slices.Sort(problems)
	return discovery.Canonical(set), states, problems
}

// name is the instance's ID. Without one it is its address.
func (h host) name() string {
	if h.ID != "" {
		return h.ID
	}
	return fmt.Sprintf("%s:%d", h.IP, h.Port)
}

// state is what is counted, and whether it takes traffic.
func (h host) state(protected bool) (name string, takes bool) {
	switch {
	case h.Enabled != nil && !*h.Enabled:
		return "disabled", false
	case h.weight() <= 0:
		return "weight 0", false
	case h.Healthy != nil && !*h.Healthy:
		return "unhealthy", protected
	}
	return "healthy", true
}

func (h host) weight() float64 {
	if h.Weight == nil {
		return 1
	}
	return *h.Weight
}

// maxWeight is that of all sources.
const maxWeight = 65535

// scale sets the weights of set.
func scale(set []discovery.Instance, weights []float64) {
	by := 1.0
	if slices.ContainsFunc(weights, func(w float64) bool { return w != math.Trunc(w) }) {
		by = 100
	}
	for i, w := range weights {
		set[i].Weight = int(min(max(math.Round(w*by), 1), maxWeight))
	}
}
