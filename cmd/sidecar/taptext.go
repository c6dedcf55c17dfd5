package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"sidecar/tap"
)

// tapText is one request for people: a line, and below it the header fields where there are any. What
// clients and endpoints have sent cannot write anywhere else on the terminal.
func tapText(r *tap.Record, paint painter) string {
	const client, method, took, endpoint = 21, 7, 8, 21
	line := strings.Join([]string{
		r.Time.Local().Format("15:04:05.000"),
		pad(cmp.Or(r.Client, "unix"), client),
		pad(cmp.Or(visible(r.Method), "-"), method),
		paint.paint(statusColor(r), padLeft(statusText(r.Status), 3)),
		padLeft(cmp.Or(latencyText(r.TookSeconds), "-"), took),
		pad(cmp.Or(visible(r.Endpoint), "-"), endpoint),
		cmp.Or(visible(r.Target), "-"),
	}, "  ")
	if notes := tapNotes(r); notes != "" {
		line += "  " + paint.paint(yellow, "["+notes+"]")
	}
	return line + "\n" + fieldLines(">", r.RequestHeaders, paint) + fieldLines("<", r.ResponseHeaders, paint)
}

func statusText(status int) string {
	if status == 0 {
		return "-"
	}
	return strconv.Itoa(status)
}

func statusColor(r *tap.Record) string {
	switch {
	case r.Status >= 500, r.Status == 0:
		return red
	case r.Status >= 400:
		return yellow
	}
	return green
}

// tapNotes are what is out of the ordinary.
func tapNotes(r *tap.Record) string {
	var notes []string
	if r.Tries > 1 {
		tries := fmt.Sprintf("%d tries:", r.Tries)
		for _, a := range r.Attempts {
			tries += " " + visible(a.Endpoint) + " " + visible(a.Outcome)
			if a.Status > 0 {
				tries += " " + strconv.Itoa(a.Status)
			}
			tries += ","
		}
		notes = append(notes, strings.TrimSuffix(tries, ","))
	}
	if r.Tunnel {
		notes = append(notes, "tunnel")
	}
	if r.GRPC != "" {
		notes = append(notes, "grpc "+visible(r.GRPC))
	}
	if r.Flag != "ok" && r.Flag != "" {
		notes = append(notes, visible(r.Flag))
	}
	return strings.Join(notes, "; ")
}

func fieldLines(mark string, fields []tap.Field, paint painter) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(paint.paint(dim, "    "+mark+" "+visible(f.Name)+": "+visible(f.Value)) + "\n")
	}
	return b.String()
}
