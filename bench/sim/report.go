package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A section is one table: a scenario in one size.
type section struct {
	scenario *scenario
	size     size
	rows     []row
}

type row struct {
	name  string
	tally *tally
}

// cells are the texts of the table, its head first.
func (s *section) cells() [][]string {
	head := []string{"policy"}
	for _, c := range s.scenario.columns {
		head = append(head, c.head)
	}
	cells := [][]string{head}
	for _, r := range s.rows {
		line := []string{r.name}
		for _, c := range s.scenario.columns {
			line = append(line, c.cell(r.tally))
		}
		cells = append(cells, line)
	}
	return cells
}

// text is the table for a terminal.
func (s *section) text(first bool) string {
	var b strings.Builder
	if first {
		fmt.Fprintf(&b, "\n%s: %s\n", s.scenario.name, s.scenario.title)
		if s.scenario.about != "" {
			fmt.Fprintf(&b, "%s\n", s.scenario.about)
		}
	}
	fmt.Fprintf(&b, "\n  %s\n", s.describe())
	cells := s.cells()
	widths := widthsOf(cells)
	for _, line := range cells {
		b.WriteString(" ")
		for i, text := range line {
			b.WriteString(" " + padded(text, widths[i], i == 0) + " ")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// markdown is the table for a document.
func (s *section) markdown(first bool) string {
	var b strings.Builder
	if first {
		fmt.Fprintf(&b, "\n### %s\n\n`%s`", s.scenario.title, s.scenario.name)
		if s.scenario.about != "" {
			fmt.Fprintf(&b, ": %s", s.scenario.about)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%s:\n\n", s.describe())
	cells := s.cells()
	widths := widthsOf(cells)
	for n, line := range cells {
		b.WriteString("|")
		for i, text := range line {
			b.WriteString(" " + padded(text, widths[i], i == 0) + " |")
		}
		b.WriteString("\n")
		if n > 0 {
			continue
		}
		b.WriteString("|")
		for i, width := range widths {
			if i == 0 {
				b.WriteString(strings.Repeat("-", width+2) + "|")
			} else {
				b.WriteString(strings.Repeat("-", width+1) + ":|")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// describe says how much there is of everything.
func (s *section) describe() string {
	load := s.scenario.load * capacity * float64(s.size.instances)
	return fmt.Sprintf("%d sidecars, %d instances, %.0f requests/s", s.size.sidecars, s.size.instances, load)
}

func widthsOf(cells [][]string) []int {
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	return widths
}

func padded(text string, width int, left bool) string {
	pad := strings.Repeat(" ", width-utf8.RuneCountInString(text))
	if left {
		return text + pad
	}
	return pad + text
}
