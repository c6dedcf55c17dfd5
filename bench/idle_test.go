package main

import "testing"

func TestParseSmaps(t *testing.T) {
	text := `00400000-7ffd1000 ---p 00000000 00:00 0                          [rollup]
Rss:                1200 kB
Pss:                 900 kB
Pss_Dirty:           100 kB
Shared_Clean:        300 kB
Private_Clean:       200 kB
Private_Dirty:       700 kB
`
	got, err := parseSmaps([]byte(text))
	want := memory{rss: 1200 << 10, pss: 900 << 10, private: 900 << 10}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := parseSmaps([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("no error although fields are missing")
	}
}
