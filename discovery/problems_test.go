package discovery

import "testing"

func TestProblemsThatAreToldAreFew(t *testing.T) {
	problems := make([]string, MaxProblems+7)
	for i := range problems {
		problems[i] = string(rune(i))
	}
	got := Few(problems)
	if len(got) != MaxProblems+1 || got[MaxProblems-1] != problems[MaxProblems-1] || got[MaxProblems] != "and 7 more" {
		t.Errorf("%q", got)
	}
	if problems[MaxProblems] != string(rune(MaxProblems)) {
		t.Error("the caller's problems are changed")
	}
	if got := Few(problems[:MaxProblems]); len(got) != MaxProblems {
		t.Errorf("%q", got)
	}
}
