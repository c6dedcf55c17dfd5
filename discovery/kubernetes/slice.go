package kubernetes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// maxLine bounds one event; the largest slice there can be is some 400 kB.
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
	AddressType string     `json:"addressType"` // IPv4, IPv6, FQDN
	Endpoints   []endpoint `json:"endpoints"`
	Ports       []port     `json:"ports"` // the same for all of Endpoints
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
	Items []slice `json:"items"`
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
