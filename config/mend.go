package config

import (
	"bytes"
	"errors"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/viper"
)

// mostMistakes is how many mistakes of TOML are looked for before the rest of a file is given up.
const mostMistakes = 50

// mend reads the text with viper. Where that fails it reports why, blanks the least it can, and
// reads again, so that one missing quote does not hide every other mistake. Afterwards the text
// is good TOML.
func (t *text) mend() (*viper.Viper, []Problem) {
	var problems []Problem
	for {
		v := viper.New()
		v.SetConfigType("toml")
		err := v.ReadConfig(bytes.NewReader(t.data))
		if err == nil {
			return v, problems
		}
		p := Problem{File: t.name, Line: 1, Column: 1, Message: "is not TOML: " + err.Error()}
		before := t.blanked
		if de := (*toml.DecodeError)(nil); errors.As(err, &de) {
			p.Line, p.Column = de.Position()
			p.Line = min(p.Line, len(t.lines))
			p.Message = strings.TrimPrefix(de.Error(), "toml: ")
			if len(problems) < mostMistakes {
				t.repair(&p)
			} else {
				p.Message += "; there are too many mistakes to read on"
			}
		}
		if t.blanked == before { // lose the rest rather than try for ever
			t.blank(0, len(t.data))
		}
		problems = append(problems, p)
	}
}

// repair blanks the statement that p is about, and improves p.
func (t *text) repair(p *Problem) {
	offset := min(t.lines[p.Line-1]+max(p.Column, 1)-1, len(t.data))
	good, from, to := t.statement(offset)
	switch {
	case good:
		// The grammar holds; the statement contradicts another one, or its value is out
		// of all bounds. A header takes its keys with it: they would land in another table.
		t.blank(from, to)
	case t.aloneBad(p.Line) && t.lineAt(from) <= p.Line:
		t.advise(p)
		if header := bytes.TrimSpace(t.line(p.Line)); bytes.HasPrefix(header, []byte("[")) {
			t.blank(t.lines[p.Line-1], t.nextHeader(p.Line+1, bytes.HasPrefix(header, []byte("[["))))
			return
		}
		t.blank(t.lines[p.Line-1], t.end(p.Line))
	default:
		// Something above was not closed.
		p.Line, p.Column = t.lineAt(from), from-t.lines[t.lineAt(from)-1]+1
		p.Message = "is not closed, or lacks a comma: " + p.Message
		t.blank(from, t.nextHeader(max(p.Line, t.lineAt(offset)), false))
	}
}

// statement finds the statement that the byte at offset belongs to. Good is whether the grammar
// holds up to and including it; then to is its end, with all its keys when it is a header.
// Otherwise from is where the first statement begins that cannot be read.
func (t *text) statement(offset int) (good bool, from, to int) {
	var p unstable.Parser
	p.Reset(t.data)
	last := 0 // end of the last good statement
	for p.NextExpression() {
		e := p.Expression()
		start, end := int(e.Raw.Offset), int(e.Raw.Offset+e.Raw.Length)
		if e.Kind != unstable.KeyValue {
			it := e.Key()
			for it.Next() {
				start = int(it.Node().Raw.Offset)
			}
			line := t.lineAt(start)
			start, end = t.lines[line-1], t.end(line)
		}
		if offset >= start && offset < end {
			if e.Kind != unstable.KeyValue {
				end = t.nextHeader(t.lineAt(start)+1, e.Kind == unstable.ArrayTable)
			}
			return true, start, end
		}
		last = end
	}
	if p.Error() == nil { // cannot be; give up all of it rather than loop
		return true, 0, len(t.data)
	}
	return false, t.firstWord(last), 0
}

// firstWord is the offset of the first line at or after offset that says something, behind the
// blanks at its beginning.
func (t *text) firstWord(offset int) int {
	rest := t.lineAt(offset)
	if offset > t.lines[rest-1] {
		if tail := bytes.TrimSpace(t.data[offset:t.end(rest)]); len(tail) > 0 && tail[0] != '#' {
			return offset
		}
		rest++
	}
	for n := rest; n <= len(t.lines); n++ {
		line := t.line(n)
		if word := bytes.TrimLeft(line, " \t"); len(word) > 0 && word[0] != '#' {
			return t.lines[n-1] + len(line) - len(word)
		}
	}
	return min(offset, len(t.data))
}

// aloneBad tells whether a line is wrong whatever stands above it.
func (t *text) aloneBad(n int) bool {
	line := t.line(n)
	if len(bytes.TrimSpace(line)) == 0 {
		return false
	}
	var m map[string]any
	return toml.Unmarshal(line, &m) != nil
}

var (
	headerLine = regexp.MustCompile(`^\s*\[\[?\s*[A-Za-z0-9_.-]+\s*\]\]?\s*(#.*)?$`)
	bareValue  = regexp.MustCompile(`^\s*([A-Za-z0-9_.-]+)\s*=\s*([^"'\[\]{}#\s]+)\s*(#.*)?$`)
)

// nextHeader is the offset of the first line from n on that looks like [a.b] or [[a]], or only
// like the latter; the end of the text when there is none.
func (t *text) nextHeader(n int, array bool) int {
	for ; n <= len(t.lines); n++ {
		line := t.line(n)
		if headerLine.Match(line) && (!array || bytes.HasPrefix(bytes.TrimSpace(line), []byte("[["))) {
			return t.lines[n-1]
		}
	}
	return len(t.data)
}

// advise says how a line is mended, where that is plain.
func (t *text) advise(p *Problem) {
	match := bareValue.FindSubmatch(t.line(p.Line))
	if match == nil {
		return
	}
	key, value := string(match[1]), string(match[2])
	if strings.HasSuffix(key, "token") || strings.HasSuffix(key, "password") { // not shown
		p.Message = key + ": a string stands in quotes"
		return
	}
	rule := "yes and no are written as true and false"
	switch strings.ToLower(value) {
	case "true", "yes", "on":
		value = "true"
	case "false", "no", "off":
		value = "false"
	default:
		rule = "a string stands in quotes"
		value = `"` + clip(value) + `"`
	}
	line := key + " = " + value
	var m map[string]any
	if toml.Unmarshal([]byte(line), &m) == nil {
		p.Message = rule + "; write " + line
	}
}
