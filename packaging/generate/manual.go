package main

import (
	"fmt"
	"slices"
	"strings"
)

// known are the headings of a help that are about something other than commands.
var known = []string{"Usage:", "Aliases:", "Examples:", "Flags:", "Global Flags:", "Additional help topics:"}

// general are commands that every program of this kind has.
var general = []string{"help", "completion"}

// A help is what a command says of itself.
type help struct {
	description string
	parts       map[string][]string // heading: lines below it
	order       []string            // of the headings
}

// parseHelp takes the text apart that `--help` prints.
func parseHelp(text string) (help, error) {
	h := help{parts: map[string][]string{}}
	var description []string
	heading := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		switch {
		case strings.HasPrefix(line, "Use ") && heading != "": // where to read on
			heading = "end"
		// A description may have a line that looks like a heading; the parts begin with the usage.
		case line == "Usage:", heading != "" && strings.HasSuffix(line, ":") && !strings.HasPrefix(line, " "):
			heading = line
			h.order = append(h.order, line)
		case heading == "":
			description = append(description, line)
		case line != "":
			h.parts[heading] = append(h.parts[heading], line)
		}
	}
	h.description = strings.TrimSpace(strings.Join(description, "\n"))
	if h.description == "" {
		return help{}, fmt.Errorf("no description in the help %q", text)
	}
	return h, nil
}

// topics are texts that are no commands.
func (h help) topics() (out []string) {
	for _, line := range h.parts["Additional help topics:"] {
		// With the whole command line, as "sidecar exit-codes".
		if words := strings.Fields(line); len(words) > 1 {
			out = append(out, words[1])
		}
	}
	return out
}

// commands are those below this one, which may be in groups with headings of their own.
func (h help) commands() (out []string) {
	for _, heading := range h.order {
		if slices.Contains(known, heading) {
			continue
		}
		for _, line := range h.parts[heading] {
			if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); !slices.Contains(general, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// manual is the manual page, in the language of man(7).
func manual(ask func(words ...string) (string, error)) (string, error) {
	release, err := ask("version")
	if err != nil {
		return "", err
	}
	fields := strings.Fields(release)
	if len(fields) < 2 {
		return "", fmt.Errorf("no version in %q", release)
	}
	text, err := ask("--help")
	if err != nil {
		return "", err
	}
	root, err := parseHelp(text)
	if err != nil {
		return "", err
	}
	p := &page{}
	p.request(".TH SIDECAR 1", "", "sidecar "+fields[1], "")
	p.request(".SH NAME")
	p.text(`sidecar - a proxy beside a service's clients`)
	p.request(".SH SYNOPSIS")
	p.text("sidecar COMMAND [FLAGS]")
	p.request(".SH DESCRIPTION")
	p.paragraphs(root.description)
	p.request(".SH COMMANDS")
	if err := p.commands(ask, nil, root); err != nil {
		return "", err
	}
	for _, name := range root.topics() {
		if err := p.topic(ask, name); err != nil {
			return "", err
		}
	}
	p.request(".SH FILES")
	for _, f := range [][2]string{
		{"/etc/sidecar/config.toml", "The configuration of sidecar.service."},
		{"/etc/sidecar/NAME.toml", "The configuration of sidecar@NAME.service."},
		{"/etc/default/sidecar, /etc/default/sidecar@NAME", "SIDECAR_ variables, which win over the file."},
		{"/usr/share/doc/sidecar/config.toml.example", "Every key with its default."},
		{"/usr/share/doc/sidecar/systemd.md", "How it is operated under systemd."},
	} {
		p.request(".TP")
		p.text(f[0])
		p.text(f[1])
	}
	return p.b.String(), nil
}

// A page is a manual page that is being written.
type page struct{ b strings.Builder }

// commands writes of each command below one, and of those below these.
func (p *page) commands(ask func(words ...string) (string, error), path []string, of help) error {
	for _, name := range of.commands() {
		words := append(slices.Clone(path), name)
		text, err := ask(append(slices.Clone(words), "--help")...)
		if err != nil {
			return err
		}
		h, err := parseHelp(text)
		if err != nil {
			return err
		}
		p.request(".SS " + escape("sidecar "+strings.Join(words, " ")))
		p.paragraphs(h.description)
		p.verbatim(h.parts["Usage:"])
		p.flags(slices.Concat(h.parts["Flags:"], h.parts["Global Flags:"]))
		if examples := h.parts["Examples:"]; len(examples) > 0 {
			p.request(".PP")
			p.text("Examples:")
			p.verbatim(examples)
		}
		if err := p.commands(ask, words, h); err != nil {
			return err
		}
	}
	return nil
}

// topic writes a text that is no command, as a section.
func (p *page) topic(ask func(words ...string) (string, error), name string) error {
	text, err := ask(name, "--help")
	if err != nil {
		return err
	}
	h, err := parseHelp(text)
	if err != nil {
		return err
	}
	p.request(".SH " + escape(strings.ToUpper(strings.ReplaceAll(name, "-", " "))))
	p.paragraphs(h.description)
	return nil
}

// flags writes a list of flags, but for --help.
func (p *page) flags(lines []string) {
	for _, line := range lines {
		line = strings.TrimSpace(line)
		// At least two blanks are between a flag and what it is for.
		name, purpose, ok := strings.Cut(line, "  ")
		switch {
		case strings.Contains(name, "--help"):
		case !strings.HasPrefix(line, "-") || !ok: // the rest of a description that has several lines
			p.text(line)
		default:
			p.request(".TP")
			p.text(name)
			p.text(strings.TrimSpace(purpose))
		}
	}
}

// paragraphs writes a text; lines that are indented stay as they are.
func (p *page) paragraphs(text string) {
	for block := range strings.SplitSeq(text, "\n\n") {
		lines := strings.Split(block, "\n")
		if strings.HasPrefix(block, " ") {
			p.verbatim(lines)
			continue
		}
		p.request(".PP")
		for _, line := range lines {
			p.text(line)
		}
	}
}

// verbatim writes lines that are not filled.
func (p *page) verbatim(lines []string) {
	p.request(".PP")
	p.request(".nf")
	for _, line := range lines {
		p.text(line)
	}
	p.request(".fi")
}

// request writes a line of the language, with arguments.
func (p *page) request(name string, arguments ...string) {
	p.b.WriteString(name)
	for _, a := range arguments {
		p.b.WriteString(` "` + strings.ReplaceAll(escape(a), `"`, `\(dq`) + `"`)
	}
	p.b.WriteByte('\n')
}

// text writes a line that is to be read.
func (p *page) text(line string) {
	line = escape(line)
	// A line of the language would begin so.
	if trimmed := strings.TrimLeft(line, " "); strings.HasPrefix(trimmed, ".") || strings.HasPrefix(trimmed, "'") {
		line = `\&` + line
	}
	p.b.WriteString(line + "\n")
}

// escape keeps what means something to the language from doing so.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `\&...`).Replace(s)
}
