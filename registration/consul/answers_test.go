package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/registration"
)

// A scriptedAgent answers as the test says, what a real one of today does not.
type scriptedAgent struct {
	calls  []string
	answer func(call string) error
	reason string // of the maintenance that there is; empty: none
	ended  <-chan struct{}
}

func (a *scriptedAgent) Call(_ context.Context, method, path string, query url.Values, _, out any) error {
	call := method + " " + path
	if len(query) > 0 {
		call += "?" + query.Encode()
	}
	a.calls = append(a.calls, call)
	if out != nil && path == "/v1/agent/checks" && a.reason != "" {
		text := fmt.Sprintf(`{"_service_maintenance:orders":{"ServiceID":"orders","Notes":%q}}`, a.reason)
		if err := json.Unmarshal([]byte(text), out); err != nil {
			return err
		}
	}
	if a.answer == nil {
		return nil
	}
	return a.answer(call)
}

func (a *scriptedAgent) TokenChanged(ctx context.Context) <-chan struct{} {
	a.ended = ctx.Done()
	return make(chan struct{})
}

func TestOldAgentsForgetWithOtherWords(t *testing.T) {
	for answer, forgotten := range map[answerError]bool{
		{404, `Unknown check ID "service:orders". Ensure that the check ID is passed, not the check name.`}: true,
		{404, "404 page not found"}:                                      true,
		{500, `CheckID "service:orders" does not have associated TTL`}:   true,
		{500, `Unknown check "service:orders"`}:                          true,
		{500, "No cluster leader"}:                                       false,
		{403, "Permission denied"}:                                       false,
		{429, "Your IP is issuing too many concurrent connections"}:      false,
		{400, "does not have associated TTL, whatever that means in it"}: false,
	} {
		agent := &scriptedAgent{answer: func(string) error { return fmt.Errorf("consul: renew: %w", answer) }}
		err := New(agent).Renew(t.Context(), announcement("orders"), passing)
		if errors.Is(err, registration.ErrForgotten) != forgotten || err == nil {
			t.Errorf("%v: %v", answer, err)
		}
	}
}

// Agents of today drop a maintenance with the checks that are replaced. Whether those of tomorrow
// do is not left to chance: ours is ended by a call, and an operator's kept by not replacing.
func TestRegistrationLooksForMaintenanceFirst(t *testing.T) {
	const (
		look     = `GET /v1/agent/checks?filter=ServiceID+%3D%3D+%22orders%22`
		register = "PUT /v1/agent/service/register"
		replace  = register + "?replace-existing-checks=true"
		update   = "PUT /v1/agent/check/update/service:orders"
		end      = "PUT /v1/agent/service/maintenance/orders?enable=false"
	)
	for reason, want := range map[string][]string{
		"":                   {look, replace, update},
		"sidecar: it drains": {look, replace, update, end},
		"new disk":           {look, register, update},
		"the sidecar: ours":  {look, register, update},
	} {
		agent := &scriptedAgent{reason: reason}
		if err := New(agent).Register(t.Context(), announcement("orders"), passing); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(agent.calls, want) {
			t.Errorf("%q: calls %q", reason, agent.calls)
		}
	}
}

func TestDeregistrationLooksForMaintenanceFirst(t *testing.T) {
	const (
		look = `GET /v1/agent/checks?filter=ServiceID+%3D%3D+%22orders%22`
		end  = "PUT /v1/agent/service/deregister/orders"
	)
	for reason, want := range map[string][]string{
		"":                   {look, end},
		"sidecar: it drains": {look, end},
		"new disk":           {look},
	} {
		agent := &scriptedAgent{reason: reason}
		if err := New(agent).Deregister(t.Context(), announcement("orders")); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(agent.calls, want) {
			t.Errorf("%q: calls %q", reason, agent.calls)
		}
	}
}

func TestCloseEndsListeningForNewTokens(t *testing.T) {
	agent := &scriptedAgent{}
	r := New(agent)
	if first, second := r.Lost(), r.Lost(); first == nil || first != second {
		t.Error("it does not listen")
	}
	r.Close()
	select {
	case <-agent.ended:
	default:
		t.Error("it goes on listening")
	}
}

func TestComparisonThatFailsIsNoProof(t *testing.T) {
	for code, forgotten := range map[int]bool{404: true, 500: false, 403: false} {
		agent := &scriptedAgent{answer: func(call string) error {
			if strings.HasPrefix(call, "GET /v1/agent/service/") {
				return answerError{code, "no"}
			}
			return nil
		}}
		r := New(agent)
		var err error
		for range compareEvery {
			if err != nil {
				t.Fatalf("too early: %v", err)
			}
			err = r.Renew(t.Context(), announcement("orders"), passing)
		}
		if err == nil || errors.Is(err, registration.ErrForgotten) != forgotten {
			t.Errorf("%d: %v", code, err)
		}
	}
}

func TestEachFailedStepFailsTheCall(t *testing.T) {
	failure := answerError{http.StatusInternalServerError, "No cluster leader"}
	for _, step := range []string{"/checks", "/service/register", "/check/update", "/service/maintenance", "/service/deregister"} {
		agent := &scriptedAgent{answer: func(call string) error {
			if strings.Contains(call, step) {
				return failure
			}
			return nil
		}}
		r, a := New(agent), announcement("orders")
		failed := map[string]bool{
			"register":   errors.Is(r.Register(t.Context(), a, passing), failure),
			"leave":      errors.Is(r.Leave(t.Context(), a, "it drains"), failure),
			"deregister": errors.Is(r.Deregister(t.Context(), a), failure),
		}
		want, ok := map[string]string{
			"/checks":              "register deregister", // whose maintenance it is in is not known
			"/service/maintenance": "leave",
			"/service/deregister":  "deregister",
		}[step]
		if !ok {
			want = "register"
		}
		for name, has := range failed {
			if has != slices.Contains(strings.Fields(want), name) {
				t.Errorf("%s fails: %s has failed: %v", step, name, has)
			}
		}
	}
}

func TestWrongIDIsRefused(t *testing.T) {
	for _, id := range []string{"", `a"b`, `a\b`} {
		agent := &scriptedAgent{}
		if err := New(agent).Register(t.Context(), announcement(id), passing); err == nil || len(agent.calls) > 0 {
			t.Errorf("%q: %v, calls %q", id, err, agent.calls)
		}
		if err := New(agent).Deregister(t.Context(), announcement(id)); err != nil || len(agent.calls) > 0 {
			t.Errorf("%q: there is nothing to take back: %v, calls %q", id, err, agent.calls)
		}
	}
}

func TestDescriptionKeepsToWhatConsulTakes(t *testing.T) {
	a := announcement("orders")
	a.Weight, a.WarningWeight, a.TTL, a.DeregisterAfter = 0, -1, 15*time.Second, 0
	s := describe(a, passing)
	if s.Weights != (weights{1, 1}) || s.Check.TTL != "15s" || s.Check.DeregisterCriticalServiceAfter != "" || s.Check.Status != "passing" {
		t.Errorf("%+v", s)
	}
	a.DeregisterAfter = 90 * time.Second
	if got := describe(a, critical).Check; got.DeregisterCriticalServiceAfter != "1m30s" || got.Status != "critical" {
		t.Errorf("%+v", got)
	}
}
