package http

import (
	"bytes"

	"sidecar/proxy/http/h1"
)

// A HashBy says what of a request its hash is made of.
type HashBy uint8

// What a hash may be made of.
const (
	HashNothing HashBy = iota
	HashClient         // the client's address, without the port
	HashPath           // the target's path, without the query
	HashHeader         // a field
	HashCookie         // a cookie
)

// A HashKey says how the hash of a request is made that its endpoint is picked by. A request
// that lacks what it is made of has none, and goes anywhere.
type HashKey struct {
	By   HashBy
	Name string              // of the field or cookie
	Hash func([]byte) uint64 // never 0
}

// hash is the hash of the request, 0 if it has none.
func (x *exchange) hash() uint64 {
	k := &x.shard.set.HashKey
	var value []byte
	switch k.By {
	case HashNothing:
		return 0
	case HashClient:
		addr := x.conn.RemoteAddrPort().Addr()
		if !addr.IsValid() {
			return 0
		}
		x.address = addr.As16()
		return k.Hash(x.address[:])
	case HashPath:
		value, _, _ = bytes.Cut(x.req.Path, []byte("?"))
	case HashHeader:
		value = x.field(k.Name)
	case HashCookie:
		value = x.cookie(k.Name)
	}
	if len(value) == 0 {
		return 0
	}
	return k.Hash(value)
}

// cookie is the value of the first cookie of that name (RFC 6265 §4.2.1).
func (x *exchange) cookie(name string) []byte {
	if !x.req.Seen.Has(h1.KindCookie) {
		return nil
	}
	for i := range x.req.Fields {
		if x.req.Fields[i].Kind != h1.KindCookie {
			continue
		}
		for rest := x.req.Value(i); len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte(";"))
			key, value, found := bytes.Cut(bytes.TrimSpace(pair), []byte("="))
			if found && string(key) == name {
				return bytes.Trim(value, `"`)
			}
		}
	}
	return nil
}
