// Command bench compares sidecar with HAProxy and nginx on this machine.
//
// The same load goes through each proxy in turn (A B C A B C …) within one run, and the
// figure that counts is the CPU time of the proxy's own process per request, per message
// or per gigabyte: it barely depends on what the load generator can do, and less than
// throughput does on what else the machine is doing. docs/performance.md says how to read
// the tables.
//
//	go run ./bench                       everything, about seventeen minutes
//	go run ./bench -quick                everything, two minutes, for a look
//	go run ./bench -measure http,bulk    two of the tables
//	go run ./bench -baseline ../old/sidecar -proxies sidecar,haproxy
//
// It needs wrk, h2load, haproxy and nginx, talks to 127.0.0.1 only, and keeps its files in a
// temporary folder that it removes. The life of a run: options → bench (temporary folder,
// origin) → one function per table, which starts the proxies, checks their answers, takes
// the rounds and stops them → tables and notes on standard output; progress on standard
// error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// Children are started from the main thread, for two reasons: they inherit its CPU affinity,
// and they get a signal when the thread that started them dies. So main never leaves it.
func init() { runtime.LockOSThread() }

func main() { os.Exit(main1()) }

func main1() int {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleBulkOrigin:
			return exitCode(bulkOriginMain(os.Args[2:]))
		case roleBulkClient:
			return exitCode(bulkClientMain(os.Args[2:]))
		case roleCallOrigin:
			return exitCode(callOriginMain(os.Args[2:]))
		case roleHandshakes:
			return exitCode(handshakesMain(os.Args[2:]))
		}
	}
	opts, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}

	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer restore()
	context.AfterFunc(ctx, restore) // a second ctrl-C does not wait for the cleaning up
	ctx, cancel := context.WithTimeoutCause(ctx, opts.limit, fmt.Errorf("not done after %v (flag -limit)", opts.limit))
	defer cancel()
	return exitCode(run(ctx, opts))
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

func run(ctx context.Context, opts options) (err error) {
	b, err := newBench(ctx, opts)
	if err != nil {
		return err
	}
	defer func() {
		b.close()
		if cause := context.Cause(ctx); cause != nil && err != nil {
			err = cause // what stopped the run says more than what broke because of it
		}
	}()
	if err := b.prepare(); err != nil {
		return err
	}
	fmt.Println(b.describe())
	for _, name := range opts.measure {
		if err := b.table(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
