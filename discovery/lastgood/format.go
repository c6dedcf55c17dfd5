package lastgood

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"sidecar/discovery"
)

const (
	// version is that of the format. A file of another one is not read: what it means is not
	// known here.
	version = 1
	// maxFile bounds what is read into memory and written; 100,000 instances are some 10 MB.
	maxFile = 64 << 20
)

// An envelope is a whole file. The payload is kept as it was written, since its bytes are what
// the checksum is of.
type envelope struct {
	Version int             `json:"version"`
	SHA256  string          `json:"sha256"`
	Payload json.RawMessage `json:"payload"`
}

type payload struct {
	Service     string     `json:"service"`
	Fingerprint string     `json:"fingerprint"`
	Saved       time.Time  `json:"saved"`
	Confirmed   time.Time  `json:"confirmed"`
	Index       uint64     `json:"index,omitempty"`
	Unknown     bool       `json:"unknown,omitempty"`
	Instances   []instance `json:"instances"`
}

type instance struct {
	ID      string            `json:"id"`
	Address string            `json:"address"`
	Weight  int               `json:"weight"`
	Zone    string            `json:"zone,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"`
}

var errTooLarge = errors.New("it is larger than 64 MiB")

// encode makes the file of a set. Equal sets have equal bytes.
func encode(service, fingerprint string, set Set) ([]byte, error) {
	p := payload{
		Service: service, Fingerprint: fingerprint, Index: set.Index, Unknown: set.Unknown,
		// Without the monotonic part, which means nothing to another process.
		Saved: set.Saved.UTC().Round(0), Confirmed: set.Confirmed.UTC().Round(0),
		Instances: make([]instance, len(set.Instances)),
	}
	for i, inst := range set.Instances {
		p.Instances[i] = instance(inst)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	data := enclose(body)
	if len(data) > maxFile {
		return nil, errTooLarge
	}
	return data, nil
}

// enclose puts the payload into its envelope: there is one way to write it.
func enclose(body []byte) []byte {
	sum := sha256.Sum256(body)
	data := make([]byte, 0, len(body)+128)
	data = append(data, `{"version":`...)
	data = strconv.AppendInt(data, version, 10)
	data = append(data, `,"sha256":"`...)
	data = hex.AppendEncode(data, sum[:])
	data = append(data, `","payload":`...)
	data = append(data, body...)
	return append(data, "}\n"...)
}

// decode reads the file of a service's set, and returns the fingerprint too. The error says what
// is wrong with the file, which it leaves to the caller to name. It does not set Saved unless
// all is well.
func decode(data []byte, service string) (Set, string, error) {
	if len(data) > maxFile {
		return Set{}, "", errTooLarge
	}
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return Set{}, "", fmt.Errorf("it is damaged: %w", err)
	}
	if e.Version != version {
		return Set{}, "", fmt.Errorf("it is of version %d, and this sidecar reads version %d", e.Version, version)
	}
	// A parser forgives much; what is not byte for byte as it was written is damaged.
	if !bytes.Equal(data, enclose(e.Payload)) {
		return Set{}, "", errors.New("its checksum is wrong: it was damaged or edited")
	}
	var p payload
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return Set{}, "", fmt.Errorf("its payload is damaged: %w", err)
	}
	switch {
	case p.Service != asStored(service):
		return Set{}, "", fmt.Errorf("it is of service %q", p.Service)
	case p.Saved.IsZero() || p.Confirmed.IsZero():
		return Set{}, "", errors.New("it does not say when it was true")
	}
	set := Set{Unknown: p.Unknown, Saved: p.Saved, Confirmed: p.Confirmed, Index: p.Index}
	if err := set.take(p.Instances); err != nil {
		return Set{}, "", err
	}
	return set, p.Fingerprint, nil
}

// take adds the instances that can be used, and the problems of the others. None of several is
// an error: an empty set would be another answer.
func (s *Set) take(instances []instance) error {
	seen := map[string]bool{}
	for _, inst := range instances {
		switch err := checkAddress(inst.Address); {
		case inst.ID == "":
			s.Problems = append(s.Problems, fmt.Sprintf("kept instance %q: it has no ID; it returns with the next set of the registry", inst.Address))
		case err != nil:
			s.Problems = append(s.Problems, fmt.Sprintf("kept instance %q: %v", inst.ID, err))
		case seen[inst.ID]:
			s.Problems = append(s.Problems, fmt.Sprintf("kept instance %q: it is there twice; the first stands", inst.ID))
		default:
			seen[inst.ID] = true
			s.Instances = append(s.Instances, discovery.Instance(inst))
		}
	}
	slices.Sort(s.Problems)
	if len(s.Instances) == 0 && len(s.Problems) > 0 {
		return fmt.Errorf("none of its %d instances can be used: %s", len(instances), s.Problems[0])
	}
	s.Instances = discovery.Canonical(s.Instances)
	return nil
}

// checkAddress holds an address to the rules for what sources report.
func checkAddress(address string) error {
	if strings.HasPrefix(address, "unix:/") && len(address) > len("unix:/") {
		return nil // a path may hold anything, spaces too
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("port %q is no number", port)
	}
	_, err = discovery.HostPort(host, n)
	return err
}

// asStored is what comes back of a string that was written as JSON, which has no place for
// bytes that are not UTF-8.
func asStored(s string) string { return string([]rune(s)) }
