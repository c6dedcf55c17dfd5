package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The bulk protocol: the client says what it wants in nine bytes, then the stream runs, and
// the side that received answers for its length: the client by having counted, the origin by
// sending its count.
const (
	wantDownload = 'D' // origin sends n bytes, then closes
	wantUpload   = 'U' // client sends n bytes, then the origin sends how many came
)

const commandSize = 9

func command(direction byte, n int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{direction}, uint64(n))
}

// patternSize is larger than the caches that belong to one core, as real data is.
const patternSize = 64 << 20

// patternBytes returns the first n bytes of the pattern: random, and the same in every process.
func patternBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}

// send sends n bytes: the pattern, again and again. It writes from memory although
// sendfile(2) might cost the sender less: what arrives then lies scattered over single pages,
// and HAProxy (splicing or not) and nginx needed 1.3 to 1.7 times the CPU per byte for it.
func send(c net.Conn, pattern []byte, n int64) error {
	const chunk = 1 << 20
	for offset := 0; n > 0; offset %= len(pattern) {
		sent, err := c.Write(pattern[offset:min(offset+int(min(n, chunk)), len(pattern))])
		if err != nil {
			return err
		}
		n -= int64(sent)
		offset += sent
	}
	return nil
}

// discard receives up to n bytes and returns how many came before the stream's end. With
// MSG_TRUNC the kernel drops them without copying, so that the receiver is not what limits.
func discard(c *net.TCPConn, n int64) (int64, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	window := make([]byte, 4<<20) // never written to; its length is how much one call may drop
	var got int64
	for got < n {
		var dropped int
		var recvErr error
		err := raw.Read(func(fd uintptr) bool {
			dropped, _, recvErr = unix.Recvfrom(int(fd), window[:min(n-got, int64(len(window)))], unix.MSG_TRUNC)
			return !errors.Is(recvErr, unix.EAGAIN)
		})
		if err := errors.Join(err, recvErr); err != nil {
			return got, err
		}
		if dropped == 0 {
			return got, nil
		}
		got += int64(dropped)
	}
	return got, nil
}

// streamLimit ends a stream that stands still.
const streamLimit = 5 * time.Minute

// bulkOriginMain serves the bulk protocol until it is killed.
func bulkOriginMain(args []string) error {
	if len(args) != 1 {
		return errors.New("bulk origin: one argument, the address")
	}
	pattern := patternBytes(patternSize)
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serveStream(c.(*net.TCPConn), pattern)
	}
}

func serveStream(c *net.TCPConn, pattern []byte) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(streamLimit))
	if err := answerStream(c, pattern); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "bulk origin:", err)
	}
}

func answerStream(c *net.TCPConn, pattern []byte) error {
	var cmd [commandSize]byte
	if _, err := io.ReadFull(c, cmd[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint64(cmd[1:]))
	switch cmd[0] {
	case wantDownload:
		return send(c, pattern, n)
	case wantUpload:
		got, err := discard(c, n)
		if err != nil {
			return err
		}
		_, err = c.Write(binary.BigEndian.AppendUint64(nil, uint64(got)))
		return err
	}
	return fmt.Errorf("unknown command %q", cmd[0])
}
