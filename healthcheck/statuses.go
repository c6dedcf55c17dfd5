package healthcheck

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Of these are all statuses of HTTP.
const minStatus, maxStatus = 100, 599

// A StatusRange holds the HTTP statuses from From to To, both included.
type StatusRange struct{ From, To int }

// String returns "200-299", or "404" where From and To are the same.
func (r StatusRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// ParseStatuses reads statuses from 100 to 599, and ranges of them, separated by commas:
// "200-299,301,404". Spaces do not matter. Text without any is no range, and no error.
func ParseStatuses(text string) ([]StatusRange, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var out []StatusRange
	for piece := range strings.SplitSeq(text, ",") {
		r, err := parseRange(strings.TrimSpace(piece))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func parseRange(piece string) (StatusRange, error) {
	from, to, isRange := strings.Cut(piece, "-")
	if !isRange {
		to = from
	}
	var r StatusRange
	var ok [2]bool
	r.From, ok[0] = parseStatus(from)
	r.To, ok[1] = parseStatus(to)
	switch {
	case !ok[0] || !ok[1]:
		return r, fmt.Errorf("%q is no status; want one such as 301, or a range such as 200-299", piece)
	case min(r.From, r.To) < minStatus || max(r.From, r.To) > maxStatus:
		return r, fmt.Errorf("%q is out of range; want %d to %d", piece, minStatus, maxStatus)
	case r.From > r.To:
		return r, fmt.Errorf("%q runs backwards; want \"%d-%d\"", piece, r.To, r.From)
	}
	return r, nil
}

// parseStatus takes digits only: "+200" and "2e2" are mistakes.
func parseStatus(s string) (int, bool) {
	s = strings.TrimSpace(s)
	if len(s) != 3 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// A statusSet is what a status must be in. Empty, it is 200-399.
type statusSet []StatusRange

func (s statusSet) holds(status int) bool {
	if len(s) == 0 {
		return status >= 200 && status < 400
	}
	return slices.ContainsFunc(s, func(r StatusRange) bool { return status >= r.From && status <= r.To })
}

// String returns the ranges as ParseStatuses takes them.
func (s statusSet) String() string {
	pieces := make([]string, len(s))
	for i, r := range s {
		pieces[i] = r.String()
	}
	return strings.Join(pieces, ",")
}
