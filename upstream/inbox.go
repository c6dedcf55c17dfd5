package upstream

import (
	"sync"

	"sidecar/discovery"
	"sidecar/healthcheck"
)

// An inbox is what the source, the health checks and the operator have said since the service's
// goroutine last looked. Only the control plane uses it, so it may have a lock. Sets
// coalesce: only the newest counts.
type inbox struct {
	mu       sync.Mutex
	set      *discovery.Update // the newest set
	failure  *discovery.Update // the newest error, if it is newer than set
	verdicts []verdict
	commands []command

	// wake holds a token while there is something to look at.
	wake chan struct{}
}

type verdict struct {
	endpoint *Endpoint
	healthcheck.Verdict
}

// poke wakes the service's goroutine. It never blocks, and takes no lock of ours: trips
// come from the data path.
func (b *inbox) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) putUpdate(u discovery.Update) {
	b.mu.Lock()
	if u.Err != nil {
		b.failure = &u
	} else {
		b.set, b.failure = &u, nil
	}
	b.mu.Unlock()
	b.poke()
}

func (b *inbox) putVerdict(e *Endpoint, v healthcheck.Verdict) {
	b.mu.Lock()
	b.verdicts = append(b.verdicts, verdict{e, v})
	b.mu.Unlock()
	b.poke()
}

func (b *inbox) putCommand(c command) {
	b.mu.Lock()
	b.commands = append(b.commands, c)
	b.mu.Unlock()
	b.poke()
}

// takeCommands empties the inbox of what the operator has asked for.
func (b *inbox) takeCommands() []command {
	b.mu.Lock()
	defer b.mu.Unlock()
	commands := b.commands
	b.commands = nil
	return commands
}

func (b *inbox) take() (set, failure *discovery.Update, verdicts []verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	set, failure, verdicts = b.set, b.failure, b.verdicts
	b.set, b.failure, b.verdicts = nil, nil, nil
	return set, failure, verdicts
}
