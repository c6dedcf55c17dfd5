package h1

// options are the connection options with a meaning of their own (RFC 9110
// §7.6.1).
type options uint8

const (
	optionClose options = 1 << iota
	optionKeepAlive
	optionUpgrade
)

// maxNominations bounds the fields that Connection may name besides: each is
// compared with all names of the head.
const maxNominations = 64

// control settles what the hop-by-hop fields say about the connection.
func (h *Head) control() *fault {
	nominations := 0
	for i := h.Find(KindConnection); i >= 0; i = h.next(i, KindConnection) {
		nominations += h.readOptions(h.Value(i))
	}
	if nominations > maxNominations {
		return faultOptions
	}
	if nominations > 0 {
		h.dropNominated()
	}
	if h.Minor == 0 {
		return nil
	}
	for i := h.Find(KindTE); i >= 0; i = h.next(i, KindTE) {
		h.Trailers = h.Trailers || listHas(h.Value(i), "trailers")
	}
	if i := h.Find(KindUpgrade); i >= 0 && h.options&optionUpgrade != 0 {
		v := h.Value(i)
		h.Upgrade = len(v) > 0 && !h.repeated.Has(KindUpgrade) && !listHas(v, "h2c")
	}
	return nil
}

// readOptions notes the connection options in a value and returns how many of
// them name other fields.
func (h *Head) readOptions(value []byte) (nominations int) {
	for rest := value; len(rest) > 0; {
		var o []byte
		o, rest = element(rest)
		switch {
		case equalFold(o, "close"):
			h.options |= optionClose
		case equalFold(o, "keep-alive"):
			h.options |= optionKeepAlive
		case equalFold(o, "upgrade"):
			h.options |= optionUpgrade
		case len(o) > 0:
			nominations++
		}
	}
	return nominations
}

// dropNominated marks the fields that Connection names, but for the essential
// ones. It cannot take out what the proxy adds either, since that is written
// afterwards.
func (h *Head) dropNominated() {
	for i := h.Find(KindConnection); i >= 0; i = h.next(i, KindConnection) {
		for rest := h.Value(i); len(rest) > 0; {
			var o []byte
			o, rest = element(rest)
			if len(o) > 0 {
				h.dropNamed(o)
			}
		}
	}
}

// dropNamed keeps all fields of that name from passing.
func (h *Head) dropNamed(name []byte) {
	for i := range h.Fields {
		if !essential.Has(h.Fields[i].Kind) && equalTokens(h.Name(i), name) {
			h.drop(i)
		}
	}
}

// persistent says whether the connection goes on after this message (RFC 9112
// §9.3).
func (h *Head) persistent() bool {
	if h.options&optionClose != 0 {
		return false
	}
	return h.Minor > 0 || h.options&optionKeepAlive != 0
}

// listHas reports whether an element of the list is the token, lower-case.
func listHas(list []byte, token string) bool {
	for len(list) > 0 {
		var e []byte
		e, list = element(list)
		if equalFold(e, token) {
			return true
		}
	}
	return false
}
