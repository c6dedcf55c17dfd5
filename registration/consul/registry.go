// Package consul announces services in Consul, through the HTTP API of the agent on this host.
//
// An announcement is a service of the agent with one TTL check, "service:ID":
//
//	Register     PUT service/register with the check, then check/update; ends a maintenance of ours
//	Renew        PUT check/update with the health: passing, or critical with why
//	Leave        PUT service/maintenance, with a reason that shows whose it is
//	Deregister   PUT service/deregister, unless an operator has it in maintenance
//
// Three things are easily done wrong, and are why each step looks as it does. Maintenance outlives
// the agent: one that a sidecar has set and not lived to end would keep the instance out for ever,
// so Register ends it, but not an operator's, which Deregister would end, too. Registering with replace-existing-checks drops the
// check that is the maintenance, an operator's too. And the agent keeps the token that came with
// the registration for all its later talk with the servers, so that a new token takes a new
// registration (hashicorp/consul issue 11949).
package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sidecar/registration"
)

const (
	// reasonPrefix begins the reason of each maintenance of ours.
	reasonPrefix = "sidecar: "
	// compareEvery is how many renewals there are to one look at the registration itself, which
	// finds that somebody else has registered the ID: with the usual TTL of 15 s every half minute.
	compareEvery = 6
)

// An Agent makes calls of a Consul agent's API.
type Agent interface {
	// Call makes one call, with the current token: what path names is escaped, in is sent and the
	// answer read into out as JSON, and either may be nil. An answer that is not a success is an error
	// with interface{ StatusCode() int } in its chain. Errors name the call, the cause and the next
	// step; nothing is added to them here. It may be called from any goroutine.
	Call(ctx context.Context, method, path string, query url.Values, in, out any) error
	// TokenChanged returns a channel that is signalled when the token has become another one,
	// until ctx ends.
	TokenChanged(ctx context.Context) <-chan struct{}
}

// A Registry announces one service. It is a registration.Registry.
type Registry struct {
	agent    Agent
	lost     <-chan struct{}
	cancel   context.CancelFunc
	renewals int // since the registration was looked at
}

// New returns a Registry for one announcement. It makes no call.
func New(agent Agent) *Registry {
	ctx, cancel := context.WithCancel(context.Background())
	return &Registry{agent: agent, lost: agent.TokenChanged(ctx), cancel: cancel}
}

// Close ends listening for new tokens. It is called when the Registrar has ended.
func (r *Registry) Close() { r.cancel() }

// Lost is signalled when the token has changed.
func (r *Registry) Lost() <-chan struct{} { return r.lost }

// A service is what PUT service/register takes.
type service struct {
	ID, Name string
	Address  string            `json:",omitempty"`
	Port     int               `json:",omitempty"`
	Tags     []string          `json:",omitempty"`
	Meta     map[string]string `json:",omitempty"`
	Weights  weights
	Check    check
}

type weights struct{ Passing, Warning int }

// A check is one that is registered with its service.
type check struct {
	CheckID, Name, Notes           string
	TTL                            string
	Status                         string
	DeregisterCriticalServiceAfter string `json:",omitempty"`
}

// An update is what PUT check/update takes.
type update struct{ Status, Output string }

// Register implements registration.Registry. An operator's maintenance stands.
func (r *Registry) Register(ctx context.Context, a registration.Announcement, h registration.Health) error {
	if err := usable(a); err != nil {
		return err
	}
	ours, operators, err := r.maintenance(ctx, a.ID)
	if err != nil {
		return err
	}
	query := url.Values{}
	if !operators {
		// Checks of an earlier registration, which nobody would renew, would hold it critical.
		query.Set("replace-existing-checks", "true")
	}
	err = r.agent.Call(ctx, http.MethodPut, "/v1/agent/service/register", query, describe(a, h), nil)
	if err == nil {
		// An agent that is started again remembers a check's state only from an update.
		err = r.update(ctx, a.ID, h)
	}
	if err == nil && ours {
		err = r.agent.Call(ctx, http.MethodPut, "/v1/agent/service/maintenance/"+url.PathEscape(a.ID), url.Values{"enable": {"false"}}, nil, nil)
	}
	r.renewals = 0
	return err
}

// maintenance tells whether the ID is in a maintenance that a sidecar has set, or in another.
func (r *Registry) maintenance(ctx context.Context, id string) (ours, operators bool, err error) {
	var checks map[string]struct{ ServiceID, Notes string }
	query := url.Values{"filter": {fmt.Sprintf("ServiceID == %q", id)}}
	if err := r.agent.Call(ctx, http.MethodGet, "/v1/agent/checks", query, nil, &checks); err != nil {
		return false, false, err
	}
	check, ok := checks["_service_maintenance:"+id]
	if !ok {
		return false, false, nil
	}
	ours = strings.HasPrefix(check.Notes, reasonPrefix)
	return ours, !ours, nil
}

// Renew implements registration.Registry.
func (r *Registry) Renew(ctx context.Context, a registration.Announcement, h registration.Health) error {
	if err := r.update(ctx, a.ID, h); err != nil {
		if unknownCheck(err) {
			return fmt.Errorf("consul: the agent does not know the check of %q any more: %w", a.ID, registration.ErrForgotten)
		}
		return err
	}
	r.renewals++
	if r.renewals < compareEvery {
		return nil
	}
	r.renewals = 0
	return r.compare(ctx, a, h)
}

// compare looks whether the agent still has the service as it was registered.
func (r *Registry) compare(ctx context.Context, a registration.Announcement, h registration.Health) error {
	var got struct {
		Service, Address string
		Port             int
		Tags             []string
		Meta             map[string]string
		Weights          weights
	}
	err := r.agent.Call(ctx, http.MethodGet, "/v1/agent/service/"+url.PathEscape(a.ID), nil, nil, &got)
	if statusOf(err) == http.StatusNotFound {
		return fmt.Errorf("consul: the agent does not know %q any more: %w", a.ID, registration.ErrForgotten)
	}
	if err != nil {
		return err
	}
	want := describe(a, h)
	if got.Service == want.Name && got.Address == want.Address && got.Port == want.Port && got.Weights == want.Weights &&
		slices.Equal(got.Tags, want.Tags) && maps.Equal(got.Meta, want.Meta) {
		return nil
	}
	return fmt.Errorf("consul: somebody else has registered %q in the meantime, otherwise than it is configured here; use another ID for one of them: %w",
		a.ID, registration.ErrForgotten)
}

// Leave implements registration.Registry. Maintenance that there is already stands, and what the
// agent does not know takes no traffic.
func (r *Registry) Leave(ctx context.Context, a registration.Announcement, why string) error {
	query := url.Values{"enable": {"true"}, "reason": {reasonPrefix + why}}
	err := r.agent.Call(ctx, http.MethodPut, "/v1/agent/service/maintenance/"+url.PathEscape(a.ID), query, nil, nil)
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// Deregister implements registration.Registry. A maintenance of ours ends with it. An operator's
// would end too, and the next registration take traffic: so what is in one stays registered,
// critical by it and by the TTL, until the operator or DeregisterAfter removes it.
func (r *Registry) Deregister(ctx context.Context, a registration.Announcement) error {
	if !isID(a.ID) {
		return nil // it was never registered
	}
	_, operators, err := r.maintenance(ctx, a.ID)
	if err != nil || operators {
		return err
	}
	err = r.agent.Call(ctx, http.MethodPut, "/v1/agent/service/deregister/"+url.PathEscape(a.ID), nil, nil, nil)
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}

func (r *Registry) update(ctx context.Context, id string, h registration.Health) error {
	return r.agent.Call(ctx, http.MethodPut, "/v1/agent/check/update/"+url.PathEscape(checkID(id)), nil, update{stateOf(h), h.Why}, nil)
}

// describe is the announcement in Consul's words.
func describe(a registration.Announcement, h registration.Health) service {
	s := service{
		ID: a.ID, Name: a.Name, Address: a.Address, Port: a.Port, Tags: a.Tags, Meta: a.Meta,
		Weights: weights{Passing: max(a.Weight, 1), Warning: max(a.WarningWeight, 1)},
		Check: check{
			CheckID: checkID(a.ID), Name: "health of " + a.Name, Notes: "told by the sidecar on this host",
			TTL: a.TTL.String(), Status: stateOf(h),
		},
	}
	// The agent counts anything less as a minute.
	if a.DeregisterAfter >= time.Minute {
		s.Check.DeregisterCriticalServiceAfter = a.DeregisterAfter.String()
	}
	return s
}

func checkID(id string) string { return "service:" + id }

func stateOf(h registration.Health) string {
	if h.Passing {
		return "passing"
	}
	return "critical"
}

// isID tells whether a text is an ID that can stand in a filter.
func isID(text string) bool { return text != "" && !strings.ContainsAny(text, "\"\\\n") }

// usable tells what is wrong with an announcement.
func usable(a registration.Announcement) error {
	if !isID(a.ID) {
		return fmt.Errorf(`consul: register %q: that is no ID; write one, without " and \`, a.ID)
	}
	return nil
}

// A statusError is the error of an answer that is not a success.
type statusError interface {
	error
	StatusCode() int
}

func statusOf(err error) int {
	if s, ok := errors.AsType[statusError](err); ok {
		return s.StatusCode()
	}
	return 0
}

// unknownCheck tells whether an answer says that there is no such TTL check. Agents before 1.11
// or so say it with status 500.
func unknownCheck(err error) bool {
	code := statusOf(err)
	return code == http.StatusNotFound ||
		code == http.StatusInternalServerError && (strings.Contains(err.Error(), "does not have associated TTL") || strings.Contains(err.Error(), "nknown check"))
}
