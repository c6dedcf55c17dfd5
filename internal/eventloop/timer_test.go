package eventloop

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A wheelModel drives a wheel and a plain map with the same operations and compares them.
type wheelModel struct {
	*testing.T
	w      wheel
	now    int64
	timers []*modelTimer
	due    map[*modelTimer]int64 // of those that are set, the tick by which they must have fired
	input  []byte
}

type modelTimer struct {
	timer
	m *wheelModel
}

func (t *modelTimer) expired() {
	m := t.m
	if _, ok := m.due[t]; !ok {
		m.Fatal("a timer fired that was not set")
	}
	if t.when > m.now {
		m.Fatalf("fired at %d, was set for %d", m.now, t.when)
	}
	if t.active() {
		m.Fatal("a timer is still set while it fires")
	}
	delete(m.due, t)
	// From inside a callback anything may be done to any timer.
	switch m.byte() % 8 {
	case 0:
		m.set(t)
	case 1:
		m.set(m.any())
	case 2:
		m.stop(m.any())
	}
}

func newWheelModel(t *testing.T, input []byte) *wheelModel {
	m := &wheelModel{T: t, input: input, due: map[*modelTimer]int64{}}
	for range 40 {
		mt := &modelTimer{m: m}
		mt.owner = mt
		m.timers = append(m.timers, mt)
	}
	return m
}

func (m *wheelModel) byte() int {
	if len(m.input) == 0 {
		return 255
	}
	b := m.input[0]
	m.input = m.input[1:]
	return int(b)
}

func (m *wheelModel) any() *modelTimer { return m.timers[m.byte()%len(m.timers)] }

// span is a duration of any magnitude.
func (m *wheelModel) span() int64 {
	exponent := m.byte() % 64
	mantissa := int64(m.byte()<<8 | m.byte())
	return mantissa << exponent >> 12 & math.MaxInt64
}

func (m *wheelModel) set(t *modelTimer) {
	when := m.now + m.span()
	switch m.byte() % 16 {
	case 0:
		when = math.MaxInt64
	case 1:
		when = m.now - m.span()
	case 2:
		when = m.now
	case 3:
		when = m.now / tick * tick
	}
	if when < 0 {
		when = math.MaxInt64
	}
	m.w.set(&t.timer, when)
	m.due[t] = max((when-1)/tick+1, m.w.elapsed+1)
}

func (m *wheelModel) stop(t *modelTimer) {
	m.w.stop(&t.timer)
	delete(m.due, t)
}

func (m *wheelModel) advance() {
	m.now += min(m.span(), math.MaxInt64/4-m.now)
	m.w.advance(m.now)
	if m.w.elapsed != m.now/tick {
		m.Fatalf("elapsed %d, want %d", m.w.elapsed, m.now/tick)
	}
	m.compare()
}

// compare finds timers that should have fired, or that the wheel has lost or would
// oversleep.
func (m *wheelModel) compare() {
	if m.w.count != len(m.due) {
		m.Fatalf("the wheel holds %d timers, want %d", m.w.count, len(m.due))
	}
	earliest := int64(math.MaxInt64)
	for t, due := range m.due {
		if !t.active() {
			m.Fatal("a timer that is set is not active")
		}
		if due <= m.w.elapsed {
			m.Fatalf("due at %d, has not fired at %d", due, m.w.elapsed)
		}
		earliest = min(earliest, due)
	}
	wait := m.w.until(m.now)
	switch {
	case len(m.due) == 0:
		if wait != -1 {
			m.Fatalf("an empty wheel wants to be asked again in %v", wait)
		}
	case wait < 0 || int64(wait) > earliest*tick-m.now && earliest < maxTick:
		m.Fatalf("sleeps for %v, the earliest is due in %v", wait, time.Duration(earliest*tick-m.now))
	}
}

func (m *wheelModel) run() {
	for len(m.input) > 0 {
		switch m.byte() % 8 {
		case 0, 1, 2, 3:
			m.set(m.any())
		case 4:
			m.stop(m.any())
		default:
			m.advance()
		}
		m.compare()
	}
	for _, t := range m.timers {
		m.stop(t)
	}
	m.compare()
	for level, set := range m.w.occupied {
		if set != 0 {
			m.Fatalf("level %d of an empty wheel is marked %x", level, set)
		}
	}
}

func TestWheelFiresWhatASortedListWould(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		input := make([]byte, 4000)
		for i := range input {
			input[i] = byte(random.Uint32())
		}
		newWheelModel(t, input).run()
	}
}

func FuzzWheel(f *testing.F) {
	f.Add([]byte{0, 1, 20, 0, 9, 9, 7, 30, 1, 1})
	f.Add([]byte("a few timers, set and moved and stopped and fired again"))
	f.Fuzz(func(t *testing.T, input []byte) { newWheelModel(t, input).run() })
}

type firing func()

func (f firing) expired() { f() }

func TestWheelGoesOnBehindAPanicOfATimer(t *testing.T) {
	for _, at := range []int64{3, 70, 5000} { // on three levels
		var w wheel
		fired := 0
		var timers [3]timer
		for i := range timers {
			timers[i].owner = firing(func() {
				fired++
				if i < 2 {
					panic(i)
				}
			})
			w.set(&timers[i], at*tick)
		}
		for range 3 {
			func() {
				defer func() { recover() }()
				w.advance(10000 * tick)
			}()
		}
		if fired != 3 || w.count != 0 || w.elapsed != 10000 {
			t.Errorf("at %d: fired %d, left %d, elapsed %d", at, fired, w.count, w.elapsed)
		}
	}
}

func TestMovingATimerLaterDoesNotFireItAtItsOldTime(t *testing.T) {
	var w wheel
	fired := false
	tm := timer{owner: firing(func() { fired = true })}
	w.set(&tm, 5*tick)
	w.set(&tm, 500*tick)
	w.set(&tm, 100*tick)
	if w.advance(99 * tick); fired {
		t.Error("too early")
	}
	if w.advance(100 * tick); !fired {
		t.Error("not at all")
	}
}

func TestTheEndOfTimeIsNeverReached(t *testing.T) {
	var w wheel
	tm := timer{owner: firing(func() { t.Error("fired") })}
	w.set(&tm, math.MaxInt64)
	wakeUps := 0
	for now := int64(0); now < int64(100*365*24*time.Hour) && wakeUps < 100; wakeUps++ {
		now += int64(w.until(now))
		w.advance(now)
	}
	if wakeUps == 100 {
		t.Error("the wheel is looked at all the time")
	}
}
