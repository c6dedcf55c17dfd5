package consultest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// A Service is one instance as Register announces it.
type Service struct {
	ID      string // empty: Name
	Name    string
	Address string // empty: the node's, 127.0.0.1
	Port    int
	Socket  string // path of a unix socket, instead of Address and Port
	Tags    []string
	Meta    map[string]string
	Weights *Weights // nil: Consul's default of 1 and 1
	// Status of its check: passing, warning or critical. Empty means passing.
	Status string
}

// Weights are those of a Service, by the state of its checks.
type Weights struct{ Passing, Warning int }

// Register announces s, or changes it if it is there. The service gets a check that stays
// in the state it is set to, also when the agent is started again.
func (a *Agent) Register(s Service) {
	a.t.Helper()
	if s.ID == "" {
		s.ID = s.Name
	}
	if s.Status == "" {
		s.Status = "passing"
	}
	body := map[string]any{
		"ID": s.ID, "Name": s.Name, "Tags": s.Tags, "Meta": s.Meta,
		"Check": map[string]any{"CheckID": checkID(s.ID), "Name": "state", "TTL": "48h", "Status": s.Status},
	}
	if s.Socket != "" {
		body["SocketPath"] = s.Socket
	} else {
		body["Address"], body["Port"] = s.Address, s.Port
	}
	if s.Weights != nil {
		body["Weights"] = s.Weights
	}
	a.put("/v1/agent/service/register?replace-existing-checks=true", body)
	// An agent that is started again remembers a check's state only from an update.
	a.SetCheck(s.ID, s.Status)
}

// SetCheck sets the state of the check of the service with this ID.
func (a *Agent) SetCheck(id, status string) {
	a.t.Helper()
	a.put("/v1/agent/check/update/"+url.PathEscape(checkID(id)), map[string]string{"Status": status})
}

// Deregister removes the service with this ID.
func (a *Agent) Deregister(id string) {
	a.t.Helper()
	a.put("/v1/agent/service/deregister/"+url.PathEscape(id), nil)
}

// SetMaintenance puts the service with this ID into maintenance or takes it out.
func (a *Agent) SetMaintenance(id string, on bool) {
	a.t.Helper()
	a.put(fmt.Sprintf("/v1/agent/service/maintenance/%s?enable=%t", url.PathEscape(id), on), nil)
}

func checkID(service string) string { return "state:" + service }

func (a *Agent) put(path string, value any) {
	a.t.Helper()
	a.send(path, value, nil)
}

// send puts value at a path of the API and reads the answer into answer, if it is not nil.
func (a *Agent) send(path string, value, answer any) {
	a.t.Helper()
	var body []byte
	var err error
	if value != nil {
		if body, err = json.Marshal(value); err != nil {
			a.t.Fatalf("consultest: %v", err)
		}
	}
	text, err := a.call(http.MethodPut, path, body)
	if err == nil && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		a.t.Fatalf("consultest: %v", err)
	}
}
