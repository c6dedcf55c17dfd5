package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what processes have used, over all of their threads, ended ones included.
type cpuTime struct {
	user, system time.Duration
}

func (c cpuTime) total() time.Duration { return c.user + c.system }

func (c cpuTime) plus(d cpuTime) cpuTime  { return cpuTime{c.user + d.user, c.system + d.system} }
func (c cpuTime) minus(d cpuTime) cpuTime { return cpuTime{c.user - d.user, c.system - d.system} }

// cpuReading is a reading of both clocks that Linux keeps of a process.
type cpuReading struct {
	exact time.Duration // se.sum_exec_runtime of all threads: nanoseconds
	ticks cpuTime       // utime and stime: 10 ms steps, but split
}

// readCPU reads the clocks of one process. The exact one is the process's CPU clock, which
// clock_gettime(2) reads of any process: the sum of what task/*/schedstat shows, but with the
// threads that have ended.
func readCPU(pid int) (cpuReading, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return cpuReading{}, err
	}
	s, err := parseStat(text)
	if err != nil {
		return cpuReading{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	r := cpuReading{ticks: s.cpu, exact: s.cpu.total()}
	var ts unix.Timespec
	if unix.ClockGettime(processClock(pid), &ts) == nil {
		r.exact = time.Duration(ts.Nano())
	}
	return r, nil
}

// processClock is what clock_getcpuclockid(3) returns: the number's complement above three
// bits, of which 2 asks for the scheduler's own count.
func processClock(pid int) int32 { return int32(^pid)<<3 | 2 }

// used returns what a process used between two readings: the exact time, split into user and
// system in the proportion of the ticks.
func (r cpuReading) used(since cpuReading) cpuTime {
	total, split := r.exact-since.exact, r.ticks.minus(since.ticks)
	if split.total() <= 0 {
		return cpuTime{system: total}
	}
	user := time.Duration(float64(total) * float64(split.user) / float64(split.total()))
	return cpuTime{user: user, system: total - user}
}

// stat is what the bench needs of /proc/PID/stat.
type stat struct {
	parent int
	cpu    cpuTime
}

// A tick of /proc is 10 ms on every architecture that Go runs on, whatever HZ the kernel has.
const tick = 10 * time.Millisecond

func parseStat(text []byte) (stat, error) {
	// The second field is the program's name in parentheses; it may hold anything, even ") ".
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return stat{}, fmt.Errorf("no name in %q", text)
	}
	fields := strings.Fields(string(text[end+1:])) // from field 3, the state
	if len(fields) < 13 {
		return stat{}, fmt.Errorf("%d fields after the name", len(fields))
	}
	var n [3]int64
	for i, field := range []string{fields[4-3], fields[14-3], fields[15-3]} {
		v, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return stat{}, err
		}
		n[i] = v
	}
	return stat{
		parent: int(n[0]),
		cpu:    cpuTime{user: time.Duration(n[1]) * tick, system: time.Duration(n[2]) * tick},
	}, nil
}

// children returns the processes whose parent is pid.
func children(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended meanwhile
		}
		if s, err := parseStat(text); err == nil && s.parent == pid {
			found = append(found, child)
		}
	}
	return found, nil
}

// parseBusy returns from /proc/stat what all cores together have worked so far, and what the
// hypervisor kept from them.
func parseBusy(text []byte) (busy, stolen time.Duration, err error) {
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat starts with %q", line)
	}
	var n [8]int64 // user nice system idle iowait irq softirq steal
	for i := range n {
		if n[i], err = strconv.ParseInt(fields[i+1], 10, 64); err != nil {
			return 0, 0, err
		}
	}
	return time.Duration(n[0]+n[1]+n[2]+n[5]+n[6]) * tick, time.Duration(n[7]) * tick, nil
}

// usage is what one run cost.
type usage struct {
	cpu    cpuTime // of the proxy
	wall   time.Duration
	others time.Duration // CPU time of processes that are no part of the run
	kernel time.Duration // … of the kernel's softirq threads, which work for all sides
	stolen time.Duration
}

// measured runs the load and returns what the processes of the proxy used meanwhile. The load
// returns its own CPU time; known are the other processes that belong to the run.
func measured(proxy, known []int, load func() (time.Duration, error)) (usage, error) {
	before, err := readMachine(proxy, known)
	if err != nil {
		return usage{}, err
	}
	loadCPU, err := load()
	if err != nil {
		return usage{}, err
	}
	after, err := readMachine(proxy, known)
	if err != nil {
		return usage{}, err
	}

	u := usage{wall: after.when.Sub(before.when), stolen: after.stolen - before.stolen}
	ours := loadCPU
	for i := range after.proxy {
		used := after.proxy[i].used(before.proxy[i])
		u.cpu = u.cpu.plus(used)
		ours += used.total()
	}
	for i := range after.known {
		ours += after.known[i].exact - before.known[i].exact
	}
	for pid, reading := range after.kernel {
		u.kernel += reading.exact - before.kernel[pid].exact
	}
	ours += u.kernel
	u.others = max(0, after.busy-before.busy-ours)
	return u, nil
}

type machineReading struct {
	when         time.Time
	proxy, known []cpuReading
	kernel       map[int]cpuReading // by process
	busy, stolen time.Duration
}

func readMachine(proxy, known []int) (r machineReading, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return r, err
	}
	if r.busy, r.stolen, err = parseBusy(text); err != nil {
		return r, err
	}
	for _, pid := range append([]int{os.Getpid()}, known...) {
		reading, err := readCPU(pid)
		if err != nil {
			return r, err
		}
		r.known = append(r.known, reading)
	}
	for _, pid := range proxy {
		reading, err := readCPU(pid)
		if err != nil {
			return r, err
		}
		r.proxy = append(r.proxy, reading)
	}
	r.kernel = map[int]cpuReading{}
	for _, pid := range softirqThreads() {
		if reading, err := readCPU(pid); err == nil {
			r.kernel[pid] = reading
		}
	}
	r.when = time.Now()
	return r, nil
}

// softirqThreads returns the kernel's threads that go on with network work when a softirq has
// taken too long. In a container there may be none to see.
func softirqThreads() []int {
	const kthreadd = 2 // the parent of all of the kernel's threads
	threads, err := children(kthreadd)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(threads, func(pid int) bool {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return err != nil || !bytes.HasPrefix(name, []byte("ksoftirqd/"))
	})
}
