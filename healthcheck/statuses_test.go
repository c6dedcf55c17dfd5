package healthcheck

import (
	"slices"
	"testing"
)

func TestParseStatuses(t *testing.T) {
	for text, want := range map[string][]StatusRange{
		"":                        nil,
		"  ":                      nil,
		"200":                     {{200, 200}},
		"200-299":                 {{200, 299}},
		"200-299,301,404":         {{200, 299}, {301, 301}, {404, 404}},
		" 200 - 299 ,\t301 ":      {{200, 299}, {301, 301}},
		"404,100-599,204-204":     {{404, 404}, {100, 599}, {204, 204}},
		"500-503,200-299,501":     {{500, 503}, {200, 299}, {501, 501}},
		"100,599":                 {{100, 100}, {599, 599}},
		"200,200,200-200,200":     {{200, 200}, {200, 200}, {200, 200}, {200, 200}},
		"200-204,206-299,\n\t418": {{200, 204}, {206, 299}, {418, 418}},
	} {
		got, err := ParseStatuses(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParseStatusesSaysWhatIsWrong(t *testing.T) {
	const form = " is no status; want one such as 301, or a range such as 200-299"
	for text, want := range map[string]string{
		",":               `""` + form,
		"200,":            `""` + form,
		"200,,301":        `""` + form,
		"200,ok":          `"ok"` + form,
		"2xx":             `"2xx"` + form,
		"20":              `"20"` + form,
		"2000":            `"2000"` + form,
		"0200":            `"0200"` + form,
		"+20":             `"+20"` + form,
		"200-":            `"200-"` + form,
		"-299":            `"-299"` + form,
		"-":               `"-"` + form,
		"200-299-301":     `"200-299-301"` + form,
		"200 299":         `"200 299"` + form,
		"200;301":         `"200;301"` + form,
		"٢٠٠":             `"٢٠٠"` + form,
		"301, 099 ":       `"099" is out of range; want 100 to 599`,
		"600":             `"600" is out of range; want 100 to 599`,
		"200-600":         `"200-600" is out of range; want 100 to 599`,
		"301,299-200,404": `"299-200" runs backwards; want "200-299"`,
	} {
		got, err := ParseStatuses(text)
		if err == nil || err.Error() != want || got != nil {
			t.Errorf("%q: %v, %v; want the error %s", text, got, err, want)
		}
	}
}

// What String writes is what ParseStatuses reads.
func TestStatusesInWords(t *testing.T) {
	for _, text := range []string{"", "204", "200-299,301,404"} {
		ranges, err := ParseStatuses(text)
		if got := statusSet(ranges).String(); err != nil || got != text {
			t.Errorf("%q became %q, error %v", text, got, err)
		}
	}
}
