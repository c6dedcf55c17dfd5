package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// maxLine bounds one event, and one slice of a list; the largest there can be is some 400 kB.
	maxLine = 8 << 20
	// maxEndpoints bounds what is kept of one service.
	maxEndpoints = 100_000
)

// A slice is an EndpointSlice of discovery.k8s.io/v1, as far as it matters here.
type slice struct {
	Metadata struct {
		Name            string `json:"name"`
		Namespace       string `json:"namespace"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	AddressType string    `json:"addressType"` // IPv4, IPv6, FQDN
	Endpoints   endpoints `json:"endpoints"`
	Ports       []port    `json:"ports"` // the same for all of Endpoints
}

type endpoint struct {
	Addresses  []string `json:"addresses"` // any of which will do
	Conditions struct {
		Ready       *bool `json:"ready"`
		Serving     *bool `json:"serving"`
		Terminating *bool `json:"terminating"`
	} `json:"conditions"`
	NodeName  string `json:"nodeName"`
	Zone      string `json:"zone"`
	TargetRef *struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"targetRef"`
}

type port struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"` // empty: TCP
	Port     *int   `json:"port"`     // nil: any
}

// A page is one of a list of slices.
type page struct {
	Kind     string `json:"kind"`
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"` // what the next page is asked for with; empty: there is none
	} `json:"metadata"`
	Items items `json:"items"`
}

// Lists are bounded while they are decoded: an element of 3 bytes, "{},", takes a hundred and more
// in memory, so that the bound of the whole answer is none of what becomes of it.
type (
	// items of a page are slices, to be decoded one by one, at most pageSize.
	items []json.RawMessage
	// endpoints of a slice are at most maxEndpoints.
	endpoints []endpoint
)

var errLongPage = complete{fmt.Errorf("a page of the list has more than the %d slices that were asked for; see what answers between here and the API server", pageSize)}

// UnmarshalJSON implements json.Unmarshaler.
func (i *items) UnmarshalJSON(text []byte) error {
	all, err := decodeList[json.RawMessage](text, pageSize, errLongPage)
	*i = all
	return err
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *endpoints) UnmarshalJSON(text []byte) error {
	all, err := decodeList[endpoint](text, maxEndpoints, errTooMany)
	*e = all
	return err
}

// decodeList decodes a list, or null, of at most some elements.
func decodeList[T any](text []byte, most int, tooMany error) ([]T, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	begin, err := d.Token()
	if begin == nil || err != nil {
		return nil, err
	}
	if begin != json.Delim('[') {
		return nil, fmt.Errorf("%.20q is no list", text)
	}
	var all []T
	for d.More() {
		if len(all) == most {
			return nil, tooMany
		}
		var element T
		if err := d.Decode(&element); err != nil {
			return nil, err
		}
		all = append(all, element)
	}
	return all, nil
}

// readItem reads a slice of a page.
func readItem(text []byte) (s slice, err error) {
	if len(text) > maxLine {
		return s, complete{fmt.Errorf("a slice is larger than %d MiB", maxLine>>20)}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, malformedError{err}
	}
	return s, nil
}

// An event is one line of a stream of changes.
type event struct {
	Type   string          `json:"type"` // ADDED, MODIFIED, DELETED, BOOKMARK, ERROR
	Object json.RawMessage `json:"object"`
}

// A change is an event that has been read: the slice is as it is now, was until it was deleted,
// or has but a resourceVersion, in a bookmark.
type change struct {
	kind  string
	slice slice
}

// readChanges sends the changes in a stream until it ends or ctx does, and returns why: nil is
// the stream's regular end.
func readChanges(ctx context.Context, stream io.Reader, changes chan<- change) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		c, err := readChange(lines.Bytes())
		if err != nil {
			return err
		}
		select {
		case changes <- c:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		return complete{fmt.Errorf("an event is larger than %d MiB", maxLine>>20)}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func readChange(line []byte) (change, error) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return change{}, malformedError{err}
	}
	c := change{kind: e.Type}
	switch e.Type {
	case "ADDED", "MODIFIED", "DELETED", "BOOKMARK":
		if err := json.Unmarshal(e.Object, &c.slice); err != nil {
			return change{}, malformedError{err}
		}
		if c.slice.Metadata.Name == "" && e.Type != "BOOKMARK" {
			return change{}, malformedError{errors.New("a slice without a name")}
		}
		return c, nil
	case "ERROR":
		var answer answerError
		if err := json.Unmarshal(e.Object, &answer); err != nil {
			return change{}, malformedError{err}
		}
		return change{}, answer
	}
	return change{}, malformedError{fmt.Errorf("an event of type %q", e.Type)}
}
