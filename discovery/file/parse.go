package file

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sidecar/discovery"
)

const (
	// maxWeight is the largest weight of all sources.
	maxWeight = 65535
	// maxText bounds the strings that are taken for addresses and settings, and what is quoted
	// of others.
	maxText = 1024
	// maxProblems bounds how many problems are told; the last one says how many more there are.
	maxProblems = 100
)

// parse reads a file whose name ends in ext. An error is for the whole of it; what is wrong with
// single instances is in Problems.
func parse(ext string, data []byte, service string) (discovery.Update, error) {
	top, err := decode(ext, data)
	if err != nil {
		return discovery.Update{}, err
	}
	entries, known, err := pick(top, service)
	if err != nil || !known {
		return discovery.Update{Unknown: err == nil}, err
	}
	c := collection{ids: map[string]bool{}, addresses: map[string]bool{}}
	for i, entry := range entries {
		c.take(i+1, entry)
	}
	if len(c.instances) == 0 && len(c.problems) > 0 {
		return discovery.Update{}, fmt.Errorf("none of its %d entries can be used: %s; correct them, or write an empty list", len(entries), slices.Min(c.problems))
	}
	return discovery.Update{Instances: discovery.Canonical(c.instances), Problems: c.bounded()}, nil
}

// pick finds the service's entries. Known is false when the file is of services and has not this
// one.
func pick(top any, service string) (entries []any, known bool, err error) {
	if list, ok := listOf(top); ok {
		return list, true, nil
	}
	table, ok := top.(map[string]any)
	if !ok {
		return nil, false, fmt.Errorf("it holds %s; write a list of instances, or a table of such lists by service", kind(top))
	}
	name := service
	if _, ok := table["instances"]; ok && len(table) == 1 {
		name = "instances"
	}
	value, ok := table[name]
	if !ok {
		return nil, false, nil
	}
	list, ok := listOf(value)
	if !ok {
		return nil, false, fmt.Errorf("%s is %s; write a list of instances", quoted(name), kind(value))
	}
	return list, true, nil
}

func listOf(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []map[string]any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list, true
	}
	return nil, false
}

// A collection is the set as it grows.
type collection struct {
	instances      []discovery.Instance
	ids, addresses map[string]bool
	problems       []string
	more           int // problems beyond those
}

// problem notes what is wrong with the nth entry.
func (c *collection) problem(n int, format string, args ...any) {
	// Which ones are kept must not depend on the order in which maps are walked: callers see to it.
	if len(c.problems) == maxProblems {
		c.more++
		return
	}
	c.problems = append(c.problems, fmt.Sprintf("entry %d: ", n)+fmt.Sprintf(format, args...))
}

func (c *collection) bounded() []string {
	slices.Sort(c.problems)
	if c.more > 0 {
		c.problems = append(c.problems, fmt.Sprintf("more: %d problems like these", c.more))
	}
	return c.problems
}

// take takes in one entry of the list.
func (c *collection) take(n int, entry any) {
	switch entry := entry.(type) {
	case string:
		inst, err := parseText(entry)
		if err != nil {
			c.problem(n, "%v", err)
			return
		}
		c.add(n, inst)
	case map[string]any:
		if _, ok := entry["targets"]; ok {
			c.takeGroup(n, entry)
			return
		}
		inst, err := c.parseTable(n, entry)
		if err != nil {
			c.problem(n, "%v", err)
			return
		}
		c.add(n, inst)
	default:
		c.problem(n, `it is %s; write "host:port" or a table with an address`, kind(entry))
	}
}

// add takes in an instance unless it is there already.
func (c *collection) add(n int, inst discovery.Instance) {
	switch {
	case c.ids[inst.ID]:
		c.problem(n, "an instance %s is there already and stands; give this one an id of its own or remove it", quoted(inst.ID))
	case c.addresses[inst.Address]:
		c.problem(n, "an instance with the address %s is there already and stands; remove one of them", quoted(inst.Address))
	default:
		c.ids[inst.ID], c.addresses[inst.Address] = true, true
		c.instances = append(c.instances, inst)
	}
}

func parseText(s string) (discovery.Instance, error) {
	if len(s) > maxText {
		return discovery.Instance{}, fmt.Errorf("%s is longer than %d bytes", quoted(s), maxText)
	}
	return discovery.ParseInstance(s)
}

// parseAddress reads an address that stands alone.
func parseAddress(s string) (discovery.Instance, error) {
	if len(strings.Fields(s)) != 1 || strings.TrimSpace(s) != s {
		return discovery.Instance{}, fmt.Errorf("address %s has to be one word; weight and zone have keys of their own", quoted(s))
	}
	return parseText(s)
}

// parseTable reads an instance in the form of a table. A key that nobody knows is told and passed
// over: it is no reason to do without the instance.
func (c *collection) parseTable(n int, table map[string]any) (discovery.Instance, error) {
	var (
		f    = fields{table: table}
		host = f.text("address")
		port = f.number("port", 65535)
		id   = f.text("id")
		inst = discovery.Instance{Weight: max(f.number("weight", maxWeight), 1), Zone: f.text("zone"), Meta: f.texts("meta")}
	)
	for _, key := range slices.Sorted(maps.Keys(table)) {
		switch key {
		case "address", "port", "id", "weight", "zone", "meta":
		default:
			c.problem(n, "the key %s is not known and passed over; known are address, port, id, weight, zone, meta", quoted(key))
		}
	}
	if f.err != nil {
		return inst, f.err
	}
	if _, ok := table["address"]; !ok {
		return inst, fmt.Errorf(`it has no address; write one such as address = "10.0.0.1:8080"`)
	}
	if _, ok := table["port"]; ok {
		address, err := discovery.HostPort(host, port)
		if err != nil {
			return inst, fmt.Errorf("address %s, port %d: %w", quoted(host), port, err)
		}
		inst.Address = address
	} else {
		parsed, err := parseAddress(host)
		if err != nil {
			return inst, err
		}
		inst.Address = parsed.Address
	}
	inst.ID = inst.Address
	if id != "" {
		inst.ID = id
	}
	return inst, nil
}

// takeGroup takes in a group in the form of Prometheus.
func (c *collection) takeGroup(n int, group map[string]any) {
	f := fields{table: group}
	labels := f.texts("labels")
	addresses, ok := group["targets"].([]any)
	switch {
	case f.err != nil:
		c.problem(n, "%v", f.err)
		return
	case !ok:
		c.problem(n, "targets is %s; write a list of addresses", kind(group["targets"]))
		return
	}
	weight := 1
	if text, ok := labels["weight"]; ok {
		var err error
		if weight, err = strconv.Atoi(text); err != nil || weight < 1 || weight > maxWeight {
			c.problem(n, "the label weight is %s, and not a number from 1 to %d", quoted(text), maxWeight)
			return
		}
	}
	for _, address := range addresses {
		text, ok := address.(string)
		if !ok {
			c.problem(n, "one of targets is %s; write an address", kind(address))
			continue
		}
		inst, err := parseAddress(text)
		if err != nil {
			c.problem(n, "%v", err)
			continue
		}
		inst.Weight, inst.Zone, inst.Meta = weight, labels["zone"], labels
		c.add(n, inst)
	}
	for _, key := range slices.Sorted(maps.Keys(group)) {
		if key != "targets" && key != "labels" {
			c.problem(n, "the key %s is not known and passed over; known are targets and labels", quoted(key))
		}
	}
}

// fields reads the values of a table, and keeps the first error.
type fields struct {
	table map[string]any
	err   error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// text returns a string, or "" when there is none.
func (f *fields) text(key string) string {
	value, ok := f.table[key]
	if !ok {
		return ""
	}
	text, ok := value.(string)
	switch {
	case !ok:
		f.fail("%s is %s; write a string", key, kind(value))
	case len(text) > maxText:
		f.fail("%s is longer than %d bytes", key, maxText)
	case text == "":
		f.fail("%s is empty; leave it out or fill it in", key)
	}
	return text
}

// number returns a number from 1 to most, or 0 when there is none.
func (f *fields) number(key string, most int) int {
	value, ok := f.table[key]
	if !ok {
		return 0
	}
	// Both formats write what they read as whole numbers so.
	n, err := strconv.Atoi(fmt.Sprint(value))
	if _, text := value.(string); text || err != nil || n < 1 || n > most {
		f.fail("%s is %s, and not a number from 1 to %d", key, quoted(fmt.Sprint(value)), most)
	}
	return n
}

// texts returns a table of strings; numbers and truth values become such. Nil when there is none.
func (f *fields) texts(key string) map[string]string {
	value, ok := f.table[key]
	if !ok {
		return nil
	}
	table, ok := value.(map[string]any)
	if !ok {
		f.fail("%s is %s; write a table", key, kind(value))
		return nil
	}
	if len(table) == 0 {
		return nil
	}
	texts := make(map[string]string, len(table))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		switch v := table[name].(type) {
		case string, json.Number, int64, float64, bool:
			texts[name] = fmt.Sprint(v)
		default:
			f.fail("%s.%s is %s; write a string", key, quoted(name), kind(v))
		}
	}
	return texts
}

// kind names what a value is, for errors.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a truth value"
	case json.Number, int64, float64:
		return "a number"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date or time"
}

// quoted is a string as errors show it: in quotes, and not all of a long one.
func quoted(s string) string { return fmt.Sprintf("%.100q", s) }
