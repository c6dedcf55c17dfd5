package discovery

import "testing"

func TestCanonicalSortsDropsDuplicatesAndLiftsWeights(t *testing.T) {
	got := Canonical([]Instance{
		{ID: "c", Address: "c:1", Weight: 2},
		{ID: "a", Address: "a:1", Weight: -4},
		{ID: "c", Address: "c:2", Weight: 9},
		{ID: "b", Address: "b:1"},
	})
	want := []Instance{
		{ID: "a", Address: "a:1", Weight: 1},
		{ID: "b", Address: "b:1", Weight: 1},
		{ID: "c", Address: "c:1", Weight: 2},
	}
	if !Equal(got, want) {
		t.Fatalf("Canonical = %+v, want %+v", got, want)
	}
	if got := Canonical(nil); len(got) != 0 {
		t.Fatalf("Canonical(nil) = %+v", got)
	}
}

func TestEqualSeesEveryField(t *testing.T) {
	base := func() []Instance {
		return []Instance{{ID: "a", Address: "a:1", Weight: 1, Zone: "z", Meta: map[string]string{"k": "v"}}, {ID: "b"}}
	}
	if !Equal(base(), base()) {
		t.Fatal("equal sets differ")
	}
	if !Equal(nil, []Instance{}) {
		t.Fatal("two empty sets differ")
	}
	for name, change := range map[string]func(s []Instance) []Instance{
		"id":      func(s []Instance) []Instance { s[0].ID = "x"; return s },
		"address": func(s []Instance) []Instance { s[0].Address = "x"; return s },
		"weight":  func(s []Instance) []Instance { s[0].Weight = 2; return s },
		"zone":    func(s []Instance) []Instance { s[0].Zone = ""; return s },
		"meta":    func(s []Instance) []Instance { s[0].Meta["k"] = "w"; return s },
		"no meta": func(s []Instance) []Instance { s[0].Meta = nil; return s },
		"fewer":   func(s []Instance) []Instance { return s[:1] },
	} {
		if Equal(base(), change(base())) {
			t.Errorf("%s: a change is not seen", name)
		}
	}
}
