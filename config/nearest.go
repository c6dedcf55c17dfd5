package config

import "strings"

// nearest returns the candidate that word was probably meant to be, or "" when none is near. Of
// equally near ones it is the first.
func nearest(word string, candidates []string) string {
	word = strings.ToLower(word)
	best, bestDistance := "", 1+reach(len(word))
	for _, c := range candidates {
		if d := distance(word, strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, c := range candidates { // a word cut short: addr for address
		if strings.HasPrefix(strings.ToLower(c), word) {
			return c
		}
	}
	for _, c := range candidates { // or one drawn out: warning for warn
		if len(c) > max(len(best), 2) && strings.HasPrefix(word, strings.ToLower(c)) {
			best = c
		}
	}
	return best
}

// reach is how many slips of the finger are believed in a word of n letters.
func reach(n int) int {
	switch {
	case n <= 3:
		return 1
	case n <= 7:
		return 2
	default:
		return 3
	}
}

// distance counts the letters that must be inserted, removed, replaced or swapped with their
// neighbour to turn a into b (optimal string alignment). Words longer than any of ours are
// far from everything.
func distance(a, b string) int {
	const longest = 128
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var rows [3][longest + 1]int
	before, last, now := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := last[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			now[j] = min(replaced, last[j]+1, now[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}
