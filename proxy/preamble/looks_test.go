package preamble

import (
	"crypto/tls"
	"strings"
	"testing"
)

func TestWhatTheFirstBytesLookLike(t *testing.T) {
	client := string(realHello(t, &tls.Config{ServerName: "a.example"}))
	for _, tt := range []struct {
		name       string
		in         string
		http2, tls Answer
	}{
		{"nothing", "", More, More},
		{"preface", Preface, Yes, No},
		{"preface and a frame", Preface + "\x00", Yes, No},
		{"POST", "POST / HTTP/1.1\r\n", No, No},
		{"first letter of POST", "P", More, No},
		{"HTTP/1.1 with that method", "PRI * HTTP/1.1\r\n", No, No},
		{"small letters", "pri * HTTP/2.0\r\n\r\nsm\r\n\r\n", No, No},
		{"preface with another end", strings.Replace(Preface, "SM", "XX", 1), No, No},
		{"PROXY header", "PROXY TCP4 ", No, No},
		{"ClientHello", client, No, Yes},
		{"its first six bytes", client[:6], No, Yes},
		{"its first five bytes", client[:5], No, More},
		{"another message", "\x16\x03\x01\x00\x05\x02", No, No},
		{"an alert", "\x15\x03\x01\x00\x02\x01\x00", No, No},
		{"another version", "\x16\x04", No, No},
		{"an empty record", "\x16\x03\x01\x00\x00", No, No},
	} {
		if got := LooksLikeHTTP2([]byte(tt.in)); got != tt.http2 {
			t.Errorf("%s: as HTTP/2 %d, want %d", tt.name, got, tt.http2)
		}
		if got := LooksLikeTLS([]byte(tt.in)); got != tt.tls {
			t.Errorf("%s: as TLS %d, want %d", tt.name, got, tt.tls)
		}
	}
	for i := range Preface {
		if LooksLikeHTTP2([]byte(Preface[:i])) != More {
			t.Errorf("%d bytes of the preface are no beginning of it", i)
		}
	}
}
