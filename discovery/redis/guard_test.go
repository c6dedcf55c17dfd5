package redis

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// scripted is a connection from which text comes, a few bytes at a time.
type scripted struct {
	net.Conn
	text io.Reader
	step int
}

func (s *scripted) Read(p []byte) (int, error)  { return s.text.Read(p[:min(len(p), s.step)]) }
func (s *scripted) Write(p []byte) (int, error) { return len(p), nil }

func TestGuardLetsAnswersPassUnchanged(t *testing.T) {
	text := "+OK\r\n" + array("a", "", "*9999999\r\n$99999999\r\n") + "*-1\r\n$-1\r\n:12\r\n-ERR no\r\n" + bulk(strings.Repeat("v", maxValue)) +
		strings.Repeat("*-1\r\n*0\r\n", maxArrays) + // each an answer of its own
		strings.Repeat("*1\r\n", maxArrays) + "$-1\r\n" +
		"*2\r\n:1\r\n*39998\r\n" + strings.Repeat("+\r\n", 39_998) + "*40000\r\n"
	for _, step := range []int{1, 2, 3, 7, 4096, len(text)} {
		var got bytes.Buffer
		if _, err := io.Copy(&got, guard(&scripted{text: strings.NewReader(text), step: step})); err != nil || got.String() != text {
			t.Errorf("in steps of %d: %v, %d bytes of %d", step, err, got.Len(), len(text))
		}
	}
}

func TestGuardFailsAnswersThatAreTooLargeOrNoAnswers(t *testing.T) {
	for text, want := range map[string]error{
		"$65537\r\n":               errTooLarge,
		"$9223372036854775807\r\n": errTooLarge,
		"*1\r\n*40001\r\n":         errTooLarge,
		// Claims add up, in one another and one after the other, also when some have been met.
		"*40000\r\n*1\r\n": errTooLarge,
		"*2\r\n*20000\r\n" + strings.Repeat(":1\r\n", 20_000) + "*19999\r\n": errTooLarge,
		strings.Repeat("*1\r\n", maxArrays+1):                                errTooLarge,
		"*1001\r\n" + strings.Repeat("*0\r\n", maxArrays):                    errTooLarge,
		"$92233720368547758070\r\n":                                          errNotRedis,
		"$-2\r\n":                                                            errNotRedis,
		"*x\r\n":                                                             errNotRedis,
		"\r\n":                                                               errNotRedis,
		"HTTP/1.1 400 Bad Request\r\n":                                       errNotRedis,
		"+" + strings.Repeat("x", 2*maxValue):                                errTooLarge,
		strings.Repeat(bulk(strings.Repeat("x", maxValue)), 1+maxAnswer/maxValue): errTooLarge,
	} {
		for _, step := range []int{1, 512, 1 << 20} {
			_, err := io.Copy(io.Discard, guard(&scripted{text: strings.NewReader(text), step: step}))
			if !errors.Is(err, want) {
				t.Errorf("%.40q in steps of %d: %v, want %v", text, step, err, want)
			}
		}
	}
}

func TestGuardCountsEachAnswerAnew(t *testing.T) {
	page := strings.Repeat(bulk(strings.Repeat("x", maxValue)), maxAnswer/maxValue/2)
	g := guard(&scripted{text: strings.NewReader(page + page + page + page), step: 1 << 20})
	for i := range 4 {
		if _, err := g.Write([]byte("command")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, g, int64(len(page))); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}
