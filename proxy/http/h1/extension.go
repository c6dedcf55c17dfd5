package h1

// Where in a chunk extension one is (RFC 9112 §7.1.1):
//
//	chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
const (
	extensionBad       = iota // nowhere
	extensionSpace            // whitespace in front of ";", the first state
	extensionName             // behind ";"
	extensionNameMore         // within a name
	extensionEqual            // whitespace behind a name
	extensionValue            // behind "="
	extensionValueMore        // within a token
	extensionQuoted           // within a quoted string
	extensionEscape           // behind its backslash
	extensionEnd              // behind its closing quote
	extensionCR               // at the CR behind it all
	extensionStates
)

// extensionClass sorts octets by what they may do in an extension.
func extensionClass(c byte) int {
	switch {
	case isSpace(c):
		return 0
	case c == ';':
		return 1
	case c == '=':
		return 2
	case c == '"':
		return 3
	case c == '\\':
		return 4
	case c == '\r':
		return 5
	case is(c, charToken):
		return 6
	case is(c, charText):
		return 7
	}
	return 8
}

// extensionNext is the state behind an octet, by state and class.
var extensionNext = func() (t [extensionStates][9]uint8) {
	const (
		space, name, more, equal = extensionSpace, extensionName, extensionNameMore, extensionEqual
		value, vmore, quote      = extensionValue, extensionValueMore, extensionQuoted
		esc, end, cr             = extensionEscape, extensionEnd, extensionCR
	)
	// The columns: whitespace ; = " \ CR tchar and other text. What is not
	// written is a mistake.
	t[extensionSpace] = [9]uint8{space, name}
	t[extensionName] = [9]uint8{name, 0, 0, 0, 0, 0, more}
	t[extensionNameMore] = [9]uint8{equal, name, value, 0, 0, cr, more}
	t[extensionEqual] = [9]uint8{equal, name, value}
	t[extensionValue] = [9]uint8{value, 0, 0, quote, 0, 0, vmore}
	t[extensionValueMore] = [9]uint8{space, name, 0, 0, 0, cr, vmore}
	t[extensionQuoted] = [9]uint8{quote, quote, quote, end, esc, 0, quote, quote}
	t[extensionEscape] = [9]uint8{quote, quote, quote, quote, quote, 0, quote, quote}
	t[extensionEnd] = [9]uint8{space, name, 0, 0, 0, cr}
	return t
}()

// extension returns how many octets the chunk extensions have that p begins
// with: up to the CR behind them, or all of p. They are dropped, since they are
// between neighbours, and a recipient ignores those it does not know.
func extension(p []byte) (int, *fault) {
	state := uint8(extensionSpace)
	for i, c := range p {
		if i == maxExtensions {
			return 0, faultChunkOverhead
		}
		switch state = extensionNext[state][extensionClass(c)]; state {
		case extensionBad:
			return 0, faultChunkExtension
		case extensionCR:
			return i, nil
		}
	}
	return len(p), nil
}
