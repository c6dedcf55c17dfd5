package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// The colours, as terminals take them (ECMA-48, SGR).
const (
	plain  = "\x1b[0m"
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

// colorFlag adds the flag that says when there is colour.
func colorFlag(cmd *cobra.Command) *string {
	when := cmd.Flags().String("color", "auto", "auto, always or never; auto: on a terminal, unless NO_COLOR is set")
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]cobra.Completion{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp)) // it fails for a flag that is not there
	return when
}

// A painter colours text, or leaves it as it is.
type painter struct{ on bool }

// painterFor is the painter for standard output, as --color has it.
func painterFor(when string, cmd *cobra.Command) (painter, error) {
	switch when {
	case "always":
		return painter{true}, nil
	case "never":
		return painter{}, nil
	case "auto":
		// https://no-color.org: set and not empty, whatever it says.
		return painter{os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(cmd.OutOrStdout())}, nil
	}
	return painter{}, usage(cmd, "--color is auto, always or never, and not %q", when)
}

// paint puts a colour around a text.
func (p painter) paint(color, text string) string {
	if !p.on || text == "" {
		return text
	}
	return color + text + plain
}

// table has a table written, and colours it. Colours have no width, so they come after the columns
// were aligned.
func (p painter) table(w io.Writer, write func(io.Writer) error) error {
	if !p.on {
		return write(w)
	}
	var text bytes.Buffer
	if err := write(&text); err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(text.String()) {
		out.WriteString(p.line(strings.TrimSuffix(line, "\n")) + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// line colours one line of a table: titles, and cells that say how something stands.
func (p painter) line(line string) string {
	if titles.MatchString(line) {
		return p.paint(bold, line)
	}
	for _, c := range []struct {
		color string
		cells *regexp.Regexp
	}{{green, goodCells}, {yellow, dubiousCells}, {red, badCells}} {
		line = c.cells.ReplaceAllString(line, "${1}"+p.paint(c.color, "${2}")+"${3}")
	}
	return line
}

// A line of titles has nothing but capitals, and is no single word. A cell is a whole one: before it is
// the beginning of the line, another column or the line's subject.
var (
	titles       = regexp.MustCompile(`^ *[A-Z][A-Z/]+(?: +[A-Z][A-Z/]+)+ *$`)
	goodCells    = cellsOf("ready|usable")
	dubiousCells = cellsOf("draining|drained|probing|retired|spare|half-open|note")
	badCells     = cellsOf("not ready|down|ejected|open|missing|unavailable")
)

func cellsOf(words string) *regexp.Regexp {
	return regexp.MustCompile(`(^|  |: )(` + words + `)($|[ ,:])`)
}
