package consultest

import (
	"net/http"
	"net/url"
	"slices"
)

// elsewhere is the node of what RegisterMany registers. No agent runs there: nobody but the test
// changes what is registered on it.
const elsewhere = "elsewhere"

// maxOperations is how many changes Consul takes in one transaction.
const maxOperations = 64

// RegisterMany writes services straight into the catalog, some dozens at a time, on a node
// that has no agent: they stay as they are, whatever becomes of the agents. A service that is
// there already is changed. Who has no Address is on 127.0.0.1. It takes a leader.
func (a *Agent) RegisterMany(services ...Service) {
	a.t.Helper()
	var operations []any
	for _, s := range services {
		operations = append(operations, s.operations()...)
	}
	a.send("/v1/catalog/register", map[string]any{"Node": elsewhere, "Address": "127.0.0.1"}, nil)
	a.transact(operations)
}

// DeregisterMany takes services with these IDs, and their checks, out of the catalog again, where
// RegisterMany has put them.
func (a *Agent) DeregisterMany(ids ...string) {
	a.t.Helper()
	var operations []any
	for _, id := range ids {
		operations = append(operations, map[string]any{"Service": map[string]any{
			"Verb": "delete", "Node": elsewhere, "Service": map[string]any{"ID": id, "Service": "any"}, // the ID decides, but there has to be a name
		}})
	}
	a.transact(operations)
}

func (a *Agent) transact(operations []any) {
	a.t.Helper()
	for some := range slices.Chunk(operations, maxOperations) {
		a.put("/v1/txn", some)
	}
}

// operations are what registers it in a transaction.
func (s Service) operations() []any {
	if s.ID == "" {
		s.ID = s.Name
	}
	if s.Status == "" {
		s.Status = "passing"
	}
	service := map[string]any{"ID": s.ID, "Service": s.Name, "Tags": s.Tags, "Meta": s.Meta}
	if s.Socket != "" {
		service["SocketPath"] = s.Socket
	} else {
		service["Address"], service["Port"] = s.Address, s.Port
	}
	if s.Weights != nil {
		service["Weights"] = s.Weights
	}
	return []any{
		map[string]any{"Service": map[string]any{"Verb": "set", "Node": elsewhere, "Service": service}},
		map[string]any{"Check": map[string]any{"Verb": "set", "Check": map[string]any{
			"Node": elsewhere, "CheckID": checkID(s.ID), "Name": "state", "ServiceID": s.ID, "Status": s.Status,
		}}},
	}
}

// SaveSnapshot returns the whole state of the servers: catalog, tokens and all.
func (a *Agent) SaveSnapshot() []byte {
	a.t.Helper()
	snapshot, err := a.call(http.MethodGet, "/v1/snapshot", nil)
	if err != nil {
		a.t.Fatalf("consultest: %v", err)
	}
	return snapshot
}

// RestoreSnapshot puts the servers back to what SaveSnapshot has returned. The indexes of what
// they know go backwards.
func (a *Agent) RestoreSnapshot(snapshot []byte) {
	a.t.Helper()
	if _, err := a.call(http.MethodPut, "/v1/snapshot", snapshot); err != nil {
		a.t.Fatalf("consultest: %v", err)
	}
}

// Passing is how many instances of a service pass all their checks, as the servers see it.
func (a *Agent) Passing(service string) int {
	a.t.Helper()
	var all []any
	if err := a.get("/v1/health/service/"+url.PathEscape(service)+"?passing", &all); err != nil {
		a.t.Fatalf("consultest: %v", err)
	}
	return len(all)
}
