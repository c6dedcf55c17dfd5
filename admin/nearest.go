package admin

import "strings"

// longestName is the longest word that is compared letter by letter.
const longestName = 128

// nearest is the one of names that was probably meant, or empty: one that differs by a few
// letters, or else one that begins or ends like it.
func nearest(word string, names []string) string {
	best, bestDistance := "", 1+min(3, (len(word)+1)/3)
	for _, name := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	if best != "" || len(word) < 3 {
		return best
	}
	for _, name := range names {
		if strings.HasPrefix(name, word) || strings.HasSuffix(name, word) {
			return name
		}
	}
	return ""
}

// distance counts the letters that must be inserted, removed, replaced or swapped with their
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > longestName || len(b) > longestName {
		return longestName
	}
	// The rows for the letters of a up to the one before the last, the last, and this one.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, row[j]+1, last[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
