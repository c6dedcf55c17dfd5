package accesslog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// combined is the format of Apache and nginx.
const combined = `$client_ip - - [$time_clf] "$request" $status $body_out "$referer" "$user_agent"`

// A format is how a line is made: its pieces one after the other.
type format []piece

// A piece is text, or else a variable.
type piece struct {
	text  string
	value valueFunc
	safe  *charset // what the value may contain as it is
}

// A valueFunc appends a variable's value. What it leaves empty becomes "-".
type valueFunc func(b []byte, s *Shard, safe *charset) []byte

// append writes the record of a shard, without the end of the line.
func (f format) append(b []byte, s *Shard) []byte {
	for i := range f {
		p := &f[i]
		if p.value == nil {
			b = append(b, p.text...)
			continue
		}
		start := len(b)
		if b = p.value(b, s, p.safe); len(b) == start {
			b = append(b, '-')
		}
	}
	return b
}

// parseFormat reads a format: a word for a known one, or a line with variables.
func parseFormat(text string) (format, error) {
	switch text {
	case "", JSON:
		return format{{value: func(b []byte, s *Shard, _ *charset) []byte { return appendJSON(b, s) }}}, nil
	case Combined:
		text = combined
	}
	var f format
	variables := 0
	quoted := false
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "$")
		if i := strings.IndexFunc(literal, unicode.IsControl); i >= 0 {
			return nil, fmt.Errorf("%q has a control character", text)
		}
		quoted = quoted != (strings.Count(literal, `"`)%2 == 1)
		f = f.addText(literal)
		if !found {
			break
		}
		if strings.HasPrefix(after, "$") {
			f, rest = f.addText("$"), after[1:]
			continue
		}
		name, behind, err := variableName(after)
		if err != nil {
			return nil, err
		}
		value, err := variable(name)
		if err != nil {
			return nil, err
		}
		// The blanks within a request line separate its parts.
		f = append(f, piece{value: value, safe: safeBefore(behind, quoted && name != "request")})
		variables++
		rest = behind
	}
	if variables == 0 {
		return nil, fmt.Errorf("%q has no variable; want %s, %s, or a line such as %q", text, JSON, Combined, "$method $target $status")
	}
	return f, nil
}

func (f format) addText(text string) format {
	if n := len(f); n > 0 && f[n-1].value == nil {
		f[n-1].text += text
		return f
	}
	if text == "" {
		return f
	}
	return append(f, piece{text: text})
}

// variableName reads a name, or one in braces, behind a dollar.
func variableName(s string) (name, behind string, err error) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		name, behind, closed := strings.Cut(inner, "}")
		if !closed {
			return "", "", errors.New(`"${" without "}"`)
		}
		return name, behind, nil
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	if end < 0 {
		end = len(s)
	}
	if end == 0 {
		return "", "", errors.New(`"$" without a name; write $$ for a dollar`)
	}
	return s[:end], s[end:], nil
}

// safeBefore are the bytes that a value may contain when behind follows it in the format:
// printable ASCII without quotes and backslashes, without the mark that follows, and without
// blanks unless it stands between double quotes. So a reader of the line finds its end.
func safeBefore(behind string, quoted bool) *charset {
	mark := byte('"')
	if adjacent := strings.HasPrefix(behind, "$") && !strings.HasPrefix(behind, "$$"); behind != "" && !adjacent && isMark(behind[0]) {
		mark = behind[0]
	}
	return newCharset(func(c byte) bool {
		return c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != mark && (c != ' ' || quoted)
	})
}

// isMark tells whether a byte can separate values. A letter or a digit cannot: it would have
// to be escaped with itself. Neither can what is not ASCII, which is escaped anyway.
func isMark(c byte) bool {
	return c >= ' ' && c <= '~' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
}

// variable finds a variable by its name.
func variable(name string) (valueFunc, error) {
	for _, v := range variables {
		if v.name == name {
			return v.value, nil
		}
	}
	text := fmt.Sprintf("unknown variable $%s", name)
	if near := nearest(name); near != "" {
		text += fmt.Sprintf("; did you mean $%s?", near)
	}
	return nil, errors.New(text)
}

// Variables are the names that a format may use.
func Variables() []string {
	names := make([]string, len(variables))
	for i, v := range variables {
		names[i] = v.name
	}
	return names
}

// nearest is the variable that was probably meant, or empty.
func nearest(name string) string {
	best, least := "", max(1, min(3, len(name)/3))+1
	for _, v := range variables {
		if d := distance(name, v.name); d < least {
			best, least = v.name, d
		}
	}
	return best
}

// distance is how many letters must be inserted, removed or replaced to turn a into b.
func distance(a, b string) int {
	const most = 64
	if len(a) > most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = slices.Min([]int{cost, above + 1, row[j] + 1})
			diagonal = above
		}
	}
	return row[len(b)]
}
