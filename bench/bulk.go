package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// The bench starts itself in these roles, as processes of their own, so that they can be
// pinned and their CPU time is not the proxy's nor the bench's.
const (
	roleBulkOrigin = "bulk-origin"
	roleBulkClient = "bulk-client"
)

const nameTunedHAProxy = "haproxy tuned"

var directions = map[byte]string{wantDownload: "download", wantUpload: "upload"}

// bulk moves large streams through each proxy in turn, in both directions.
func (b *bench) bulk() error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	origin, err := b.start("bulk origin", b.opts.loadCore, b.bin.self, roleBulkOrigin, addr)
	if err != nil {
		return err
	}
	defer b.stop(origin)
	if err := b.until(origin, func() error { return dialable(addr) }); err != nil {
		return err
	}
	proxies, notes := b.bulkProxies()
	all, err := b.launchAll(proxies, setting{origin: addr, loops: 1, core: b.opts.proxyCore, maxConns: 4096})
	if err != nil {
		return err
	}
	defer b.stopAll(all)
	for _, p := range all {
		if err := checkStream(p.addr); err != nil {
			return fmt.Errorf("%s changes the stream: %w", p.label, err)
		}
	}
	for _, direction := range []byte{wantDownload, wantUpload} {
		if err := b.bulkDirection(origin, all, direction, notes); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) bulkDirection(origin *process, all []*running, direction byte, notes []string) error {
	results := make([]*result, len(all))
	for i, p := range all {
		results[i] = &result{label: p.label, conns: b.opts.bulkConns}
	}
	for round := range b.opts.rounds {
		for i, p := range all {
			if err := b.check(p); err != nil {
				return err
			}
			var moved bulkResult
			u, err := measured(p.pids, []int{origin.pid()}, func() (cpu time.Duration, err error) {
				moved, cpu, err = b.bulkRun(p.addr, direction)
				return cpu, err
			})
			if err != nil {
				return fmt.Errorf("%s, %s: %w", p.label, directions[direction], err)
			}
			r := results[i]
			r.add(u, float64(moved.Bytes)*8/1e9/moved.Seconds, float64(moved.Bytes)/1e9, time.Millisecond)
			b.progress("bulk %s, round %d of %d, %s: %.1f Gbit/s, %.0f ms/GB", directions[direction],
				round+1, b.opts.rounds, p.label, last(r.rate), last(r.cpu))
		}
	}
	t := bulkTable(fmt.Sprintf("TCP bulk, %s, %d connections, pinned", directions[direction], b.opts.bulkConns), results)
	t.notes = append(t.notes, notes...)
	fmt.Print(t)
	return nil
}

// bulkResult is what the bulk client prints.
type bulkResult struct {
	Bytes   int64
	Seconds float64
}

// bulkRun moves the bytes of one run with a client of its own.
func (b *bench) bulkRun(addr string, direction byte) (bulkResult, time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.ctx, streamLimit)
	defer cancel()
	var out bytes.Buffer
	p, err := startProcess("bulk client", b.opts.loadCore, &out, b.bin.self, roleBulkClient,
		addr, string(direction), strconv.Itoa(b.opts.bulkConns), strconv.FormatInt(b.opts.bulkBytes, 10))
	if err != nil {
		return bulkResult{}, 0, err
	}
	if err := p.finish(ctx); err != nil {
		return bulkResult{}, 0, err
	}
	var r bulkResult
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, 0, fmt.Errorf("bulk client said %q: %w", out.String(), err)
	}
	return r, p.cpuUsed(), nil
}

// bulkClientMain moves bytes over several connections at once and prints a bulkResult.
func bulkClientMain(args []string) error {
	if len(args) != 4 || len(args[1]) != 1 {
		return errors.New("bulk client: four arguments: address, direction, connections, bytes")
	}
	conns, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	total, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	direction := args[1][0]
	var pattern []byte
	if direction == wantUpload {
		pattern = patternBytes(patternSize)
	}
	streams := make([]*net.TCPConn, conns)
	for i := range streams {
		c, err := dialStream(args[0])
		if err != nil {
			return err
		}
		defer c.Close()
		streams[i] = c
	}

	share := total / int64(conns)
	ended := make(chan error, conns)
	start := time.Now()
	for _, c := range streams {
		go func() { ended <- moveStream(c, pattern, direction, share) }()
	}
	var failed error
	for range streams {
		failed = errors.Join(failed, <-ended)
	}
	if failed != nil {
		return failed
	}
	return json.NewEncoder(os.Stdout).Encode(bulkResult{Bytes: share * int64(conns), Seconds: time.Since(start).Seconds()})
}

func dialStream(addr string) (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), c.SetDeadline(time.Now().Add(streamLimit))
}

// moveStream moves n bytes one way and makes sure that the receiver got them all.
func moveStream(c *net.TCPConn, pattern []byte, direction byte, n int64) error {
	if _, err := c.Write(command(direction, n)); err != nil {
		return err
	}
	var got int64
	var err error
	if direction == wantDownload {
		got, err = discard(c, n)
	} else {
		if err = send(c, pattern, n); err == nil {
			var count [8]byte
			_, err = io.ReadFull(c, count[:])
			got = int64(binary.BigEndian.Uint64(count[:]))
		}
	}
	if err == nil && got != n {
		err = fmt.Errorf("%d of %d bytes arrived", got, n)
	}
	return err
}

// checkStream downloads a little for real and compares every byte.
func checkStream(addr string) error {
	want := patternBytes(8 << 20)
	c, err := dialStream(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(command(wantDownload, int64(len(want)))); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("the %d bytes received differ from the %d sent", len(got), len(want))
	}
	return nil
}
