package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A table is printed as Markdown with aligned columns, so that it can be read as it is and
// pasted into a document.
type table struct {
	title  string
	head   []string
	rows   [][]string
	notes  []string
	labels int // columns of text, on the left; the others are numbers, aligned right
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *table) String() string {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var out strings.Builder
	line := func(row []string) {
		out.WriteString("|")
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i < t.labels {
				out.WriteString(" " + cell + pad + " |")
			} else {
				out.WriteString(" " + pad + cell + " |")
			}
		}
		out.WriteString("\n")
	}

	fmt.Fprintf(&out, "\n### %s\n\n", t.title)
	line(t.head)
	out.WriteString("|")
	for i, w := range width {
		if i < t.labels {
			out.WriteString(strings.Repeat("-", w+2) + "|")
		} else {
			out.WriteString(strings.Repeat("-", w+1) + ":|")
		}
	}
	out.WriteString("\n")
	for _, row := range t.rows {
		line(row)
	}
	if len(t.notes) > 0 {
		out.WriteString("\n")
	}
	for _, note := range t.notes {
		out.WriteString("- " + note + "\n")
	}
	return out.String()
}

// ratio says how many times the other's figure this one is; a dash stands for "not measured".
func ratio(own, other float64) string {
	if own == 0 || other == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", own/other)
}

func fixed(v float64, decimals int) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

func between(s series, decimals int) string {
	if s.median() == 0 {
		return "–"
	}
	low, high := s[0], s[0]
	for _, v := range s {
		low, high = min(low, v), max(high, v)
	}
	return fmt.Sprintf("%.*f–%.*f", decimals, low, decimals, high)
}
