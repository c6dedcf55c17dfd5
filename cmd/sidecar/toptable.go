package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// leastName is how narrow the column of names gets before a column is given up, and nameTitle what
	// stands above it.
	leastName = 24
	nameTitle = "SERVICE / ENDPOINT"
	// gap is what is between two columns.
	gap = 2
)

// table is the titles and the rows that are shown. All rows decide how wide columns are: they shall not
// move when somebody scrolls.
func (v *topView) table(all, shown []topRow) []string {
	columns := topColumns()
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for j := range all {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text(&all[j])))
		}
	}
	name := len(nameTitle)
	for i := range all {
		name = max(name, utf8.RuneCountInString(nameOf(&all[i])))
	}
	name = v.narrow(name, &columns, &widths)

	title := pad(nameTitle, name)
	for i, c := range columns {
		title += strings.Repeat(" ", gap) + padLeft(c.title, widths[i])
	}
	lines := []string{v.paint.paint(bold, v.fit(strings.TrimRight(title, " "), ""))}
	for i := range shown {
		lines = append(lines, v.row(&shown[i], name, columns, widths))
	}
	if len(all) == 0 {
		lines = append(lines, v.fit("there is no service", ""))
	}
	return lines
}

// narrow makes it all fit the width, and returns that of the names: they are cut, then columns are
// given up.
func (v *topView) narrow(name int, columns *[]topColumn, widths *[]int) int {
	if v.width == 0 {
		return name
	}
	for {
		total := 0
		for _, w := range *widths {
			total += gap + w
		}
		if room := v.width - total; room >= min(name, leastName) || len(*columns) == 0 {
			return max(min(name, room), 1)
		}
		least := 0
		for i, c := range *columns {
			if c.keep < (*columns)[least].keep {
				least = i
			}
		}
		*columns = slices.Delete(*columns, least, least+1)
		*widths = slices.Delete(*widths, least, least+1)
	}
}

func (v *topView) row(r *topRow, name int, columns []topColumn, widths []int) string {
	color := ""
	if r.service {
		color = bold
	}
	line := v.colored(color, cut(nameOf(r), name), name, false)
	for i, c := range columns {
		color := ""
		if c.color != nil {
			color = c.color(r)
		}
		line += strings.Repeat(" ", gap) + v.colored(color, c.text(r), widths[i], true)
	}
	return strings.TrimRight(line, " ")
}

func nameOf(r *topRow) string {
	if r.service {
		return visible(r.name)
	}
	return "  " + visible(r.name)
}

// colored is a cell: padding has no colour, and colour no width.
func (v *topView) colored(color, text string, width int, right bool) string {
	padding := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
	if color != "" {
		text = v.paint.paint(color, text)
	}
	if right {
		return padding + text
	}
	return text + padding
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func padLeft(text string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text))) + text
}

func (v *topView) footer(shown, all int) string {
	text := "q quit   s sort: " + v.order
	if shown < all {
		text += fmt.Sprintf("   j k scroll: %d–%d of %d", v.scroll+1, v.scroll+shown, all)
	}
	return v.paint.paint(dim, v.fit(text, ""))
}
