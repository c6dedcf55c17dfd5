package consultest

import (
	"fmt"
	"math/rand/v2"
	"net/url"
)

// ReadAll are the rules of a token with which every service may be looked up.
const ReadAll = `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`

// A Token opens a Datacenter for whoever has its Secret.
type Token struct{ Accessor, Secret string }

// NewToken returns a Token to which rules are granted, in Consul's language of policies; none
// if they are empty.
func (d *Datacenter) NewToken(rules string) Token {
	d.t.Helper()
	var policies []map[string]string
	if rules != "" {
		name := fmt.Sprintf("policy-%016x", rand.Uint64())
		d.Client.put("/v1/acl/policy", map[string]string{"Name": name, "Rules": rules})
		policies = append(policies, map[string]string{"Name": name})
	}
	var made struct{ AccessorID, SecretID string }
	d.Client.send("/v1/acl/token", map[string]any{"Policies": policies}, &made)
	return Token{Accessor: made.AccessorID, Secret: made.SecretID}
}

// DeleteToken makes a Token worthless. The agents believe in it for a second more.
func (d *Datacenter) DeleteToken(t Token) {
	d.t.Helper()
	if _, err := d.Client.call("DELETE", "/v1/acl/token/"+url.PathEscape(t.Accessor), nil); err != nil {
		d.t.Fatalf("consultest: %v", err)
	}
}
