package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"sidecar/discovery"
)

const (
	// maxWeight is the largest weight that any source knows.
	maxWeight = 65535
	// maxValue is the size above which a value is not looked at: what describes an instance has
	// some hundred bytes, and each is held for as long as the key is there.
	maxValue = 64 << 10
	// maxText is the same for values that are not JSON, of which errors quote the whole.
	maxText = 512
)

// document is what a value in JSON may say. Members that it does not name belong to others.
// "Addr" and "Metadata" are those of etcd's own package naming/endpoints.
type document struct {
	ID       string          `json:"id"`
	Address  string          `json:"address"`
	Port     *int            `json:"port"`
	Weight   *int            `json:"weight"`
	Zone     string          `json:"zone"`
	Meta     json.RawMessage `json:"meta"`
	Addr     string          `json:"addr"`
	Metadata json.RawMessage `json:"metadata"`
}

// parse reads the value of the key that is called name below the prefix. The error says what
// is wrong and what to write instead.
func parse(name string, value []byte) (discovery.Instance, error) {
	text := strings.TrimSpace(string(value[:min(len(value), maxValue)]))
	switch {
	case name == "":
		return discovery.Instance{}, errors.New("the key is the prefix itself and has no name; write below it")
	case len(value) > maxValue:
		return discovery.Instance{}, fmt.Errorf("its value has %d bytes, more than %d; write host:port or a short JSON document", len(value), maxValue)
	case text == "":
		return discovery.Instance{}, errors.New(`its value is empty; write host:port or {"address": "10.0.0.1", "port": 8080}`)
	case strings.HasPrefix(text, "{"):
		return parseDocument(name, text)
	case len(text) > maxText:
		return discovery.Instance{}, fmt.Errorf("its value is a text of %d bytes; write host:port or a JSON document", len(text))
	}
	inst, err := discovery.ParseInstance(text)
	inst.ID = name
	return inst, err
}

func parseDocument(name, text string) (discovery.Instance, error) {
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return discovery.Instance{}, fmt.Errorf(`its value is not the JSON of an instance: %w; write {"address": "10.0.0.1", "port": 8080}`, err)
	}
	inst := discovery.Instance{ID: name, Weight: 1, Zone: d.Zone}
	if d.ID != "" {
		inst.ID = d.ID
	}
	if d.Address == "" {
		d.Address, d.Meta = d.Addr, d.Metadata
	}
	var err error
	if inst.Address, err = d.dialled(); err != nil {
		return discovery.Instance{}, err
	}
	if d.Weight != nil {
		if inst.Weight = *d.Weight; inst.Weight < 1 || inst.Weight > maxWeight {
			return discovery.Instance{}, fmt.Errorf("weight %d is not from 1 to %d; correct it", inst.Weight, maxWeight)
		}
	}
	inst.Meta = texts(d.Meta)
	if inst.Zone == "" {
		inst.Zone = inst.Meta["zone"]
	}
	return inst, nil
}

// dialled is the address and the port, which may be part of the address.
func (d *document) dialled() (string, error) {
	switch {
	case d.Address == "":
		return "", errors.New(`it has no address; write {"address": "10.0.0.1", "port": 8080}`)
	case strings.ContainsFunc(d.Address, unicode.IsSpace):
		return "", fmt.Errorf("address %.100q has a space in it; write only the address", d.Address)
	case d.Port != nil:
		return discovery.HostPort(d.Address, *d.Port)
	}
	inst, err := discovery.ParseInstance(d.Address)
	return inst.Address, err
}

// texts are the members of a JSON object whose values are texts. What else somebody has put
// into metadata is for others to read, and no reason to leave the instance out.
func texts(object json.RawMessage) map[string]string {
	var members map[string]any
	if len(object) == 0 || json.Unmarshal(object, &members) != nil {
		return nil
	}
	var meta map[string]string
	for key, value := range members {
		if text, ok := value.(string); ok {
			if meta == nil {
				meta = make(map[string]string)
			}
			meta[key] = text
		}
	}
	return meta
}
