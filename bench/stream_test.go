package main

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// testOrigin serves one connection of the bulk protocol and returns the other end. The test
// ends only when the serving has.
func testOrigin(t *testing.T, pattern []byte) *net.TCPConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if c, err := l.Accept(); err == nil {
			serveStream(c.(*net.TCPConn), pattern)
		}
	}()
	c, err := dialStream(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		l.Close()
		<-served
	})
	return c
}

func TestDownloadRepeatsThePattern(t *testing.T) {
	pattern := patternBytes(1000)
	c := testOrigin(t, pattern)
	if _, err := c.Write(command(wantDownload, 2500)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Join([][]byte{pattern, pattern, pattern[:500]}, nil)
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, and not the ones that should have", len(got))
	}
}

func TestBothDirectionsCountEveryByte(t *testing.T) {
	for direction, name := range directions {
		t.Run(name, func(t *testing.T) {
			pattern := patternBytes(1000)
			if err := moveStream(testOrigin(t, pattern), pattern, direction, 12_345_678); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAStreamThatEndsEarlyIsNoticed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := dialStream(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write(make([]byte, 99)); err != nil {
		t.Fatal(err)
	}
	if err := far.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if err := moveStream(c, nil, wantDownload, 100); err == nil {
		t.Error("99 of 100 bytes were taken for all")
	}
}
