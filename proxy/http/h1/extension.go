package h1

// Where a chunk extension can be (RFC 9112 §7.1.1):
//
//	chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
//
// chunkExtension, the first state, is whitespace in front of ";".
const (
	extensionName      = chunkExtension + 1 + iota // behind ";"
	extensionNameMore                              // within a name
	extensionEqual                                 // whitespace behind a name
	extensionValue                                 // behind "="
	extensionValueMore                             // within a token
	extensionQuoted                                // within a quoted string
	extensionEscape                                // behind its backslash
	extensionEnd                                   // behind its closing quote
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

// extensionNext is the state behind an octet, by state and class. chunkSizeLF
// is the end; 0 is a mistake.
var extensionNext = func() (t [extensionStates][9]chunkState) {
	const (
		space, name, more, equal = chunkExtension, extensionName, extensionNameMore, extensionEqual
		value, vmore, quote      = extensionValue, extensionValueMore, extensionQuoted
		esc, end, cr             = extensionEscape, extensionEnd, chunkSizeLF
	)
	// The columns: whitespace ; = " \ CR tchar and other text. What is not
	// written is a mistake.
	t[chunkExtension] = [9]chunkState{space, name}
	t[extensionName] = [9]chunkState{name, 0, 0, 0, 0, 0, more}
	t[extensionNameMore] = [9]chunkState{equal, name, value, 0, 0, cr, more}
	t[extensionEqual] = [9]chunkState{equal, name, value}
	t[extensionValue] = [9]chunkState{value, 0, 0, quote, 0, 0, vmore}
	t[extensionValueMore] = [9]chunkState{space, name, 0, 0, 0, cr, vmore}
	t[extensionQuoted] = [9]chunkState{quote, quote, quote, end, esc, 0, quote, quote}
	t[extensionEscape] = [9]chunkState{quote, quote, quote, quote, quote, 0, quote, quote}
	t[extensionEnd] = [9]chunkState{space, name, 0, 0, 0, cr}
	return t
}()

// extension takes part of a chunk extension up to the CR behind it. All of it
// is dropped: extensions are between neighbours, and a recipient ignores those
// it does not know.
func (b *Body) extension(p []byte) (int, *fault) {
	for i, c := range p {
		if b.line++; b.line > maxChunkLine {
			return 0, faultChunkOverhead
		}
		switch next := extensionNext[b.state][extensionClass(c)]; next {
		case 0:
			return 0, faultChunkExtension
		case chunkSizeLF:
			b.state = chunkDigits // which takes the CR
			return i, nil
		default:
			b.state = next
		}
	}
	return len(p), nil
}
