package main

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestParseStatIsNotFooledByTheName(t *testing.T) {
	for _, name := range []string{"nginx", "a b", ") S 1 (", "((x) y)"} {
		line := fmt.Sprintf("4242 (%s) S 4000 4242 4242 0 -1 4194560 1 2 3 4 123 456 7 8 20 0 3 0 99 100 200\n", name)
		got, err := parseStat([]byte(line))
		want := stat{parent: 4000, cpu: cpuTime{user: 1230 * time.Millisecond, system: 4560 * time.Millisecond}}
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", name, got, err, want)
		}
	}
}

func TestParseStatRefusesWhatIsCutOff(t *testing.T) {
	for _, line := range []string{"", "1 nginx S 2", "1 (nginx) S 2 3", "1 (nginx) S x 4 4 0 -1 4 1 2 3 4 5 6"} {
		if got, err := parseStat([]byte(line)); err == nil {
			t.Errorf("%q: no error but %+v", line, got)
		}
	}
}

func TestReadCPUOfThisProcess(t *testing.T) {
	r, err := readCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if r.exact <= 0 {
		t.Errorf("the CPU clock of a running process stands at %v", r.exact)
	}
}

func TestUsedSplitsTheExactTimeAsTheTicks(t *testing.T) {
	before := cpuReading{exact: 100 * time.Millisecond, ticks: cpuTime{user: 40 * time.Millisecond, system: 60 * time.Millisecond}}
	after := cpuReading{exact: 908 * time.Millisecond, ticks: cpuTime{user: 240 * time.Millisecond, system: 660 * time.Millisecond}}
	got := after.used(before)
	want := cpuTime{user: 202 * time.Millisecond, system: 606 * time.Millisecond}
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUsedKeepsTheTotalWhenNoTickPassed(t *testing.T) {
	got := cpuReading{exact: 3 * time.Millisecond}.used(cpuReading{exact: time.Millisecond})
	if got.total() != 2*time.Millisecond {
		t.Errorf("got %v in all, want 2ms", got.total())
	}
}

func TestParseBusyLeavesOutIdleAndWaiting(t *testing.T) {
	text := "cpu  1 2 3 1000 2000 4 5 6 7 8\ncpu0 1 2 3 1000 2000 4 5 6 7 8\n"
	busy, stolen, err := parseBusy([]byte(text))
	if err != nil || busy != 15*tick || stolen != 6*tick {
		t.Errorf("got %v busy, %v stolen, %v; want %v and %v", busy, stolen, err, 15*tick, 6*tick)
	}
	if _, _, err := parseBusy([]byte("cpu0 1 2\n")); err == nil {
		t.Error("no error for half a line")
	}
}

func TestChildrenOfThisProcess(t *testing.T) {
	found, err := children(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range found {
		if pid == os.Getpid() {
			return
		}
	}
	t.Errorf("this process, %d, is not among %v", os.Getpid(), found)
}
