package h1

import (
	"strings"
	"testing"
)

const (
	wrkRequest = "GET / HTTP/1.1\r\nHost: 127.0.0.1:7001\r\n\r\n"

	curlRequest = "GET /api/v1/orders/4711?expand=items HTTP/1.1\r\nHost: orders.example:7001\r\n" +
		"User-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"

	browserRequest = "GET /assets/app-5f3c2.js?v=20240607 HTTP/1.1\r\n" +
		"Host: www.example.com\r\n" +
		"Connection: keep-alive\r\n" +
		"sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\", \"Google Chrome\";v=\"128\"\r\n" +
		"sec-ch-ua-mobile: ?0\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36\r\n" +
		"sec-ch-ua-platform: \"Linux\"\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
		"Sec-Fetch-Site: same-origin\r\n" +
		"Sec-Fetch-Mode: no-cors\r\n" +
		"Sec-Fetch-Dest: script\r\n" +
		"Referer: https://www.example.com/dashboard/overview\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n" +
		"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.2.1234567890.1700000000\r\n" +
		"If-None-Match: W/\"5f3c2-18c3f\"\r\n\r\n"

	nginxResponse = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 07 Jun 2024 10:00:00 GMT\r\n" +
		"Content-Type: application/octet-stream\r\nContent-Length: 128\r\nConnection: keep-alive\r\n" +
		"Accept-Ranges: bytes\r\n\r\n"
)

func benchmarkRequest(b *testing.B, text string) {
	buf := []byte(text)
	var r Request
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Parse(buf, nil); n != len(buf) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkRequestWrk(b *testing.B)     { benchmarkRequest(b, wrkRequest) }
func BenchmarkRequestCurl(b *testing.B)    { benchmarkRequest(b, curlRequest) }
func BenchmarkRequestBrowser(b *testing.B) { benchmarkRequest(b, browserRequest) }

func BenchmarkResponseNginx(b *testing.B) {
	buf := []byte(nginxResponse)
	var r Response
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := r.Parse(buf, MethodGet, nil); n != len(buf) || err != nil {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkRequestForward is what a proxy does with a request: parse it and
// write the head to send on.
func BenchmarkRequestForward(b *testing.B) {
	for name, text := range map[string]string{"wrk": wrkRequest, "browser": browserRequest} {
		b.Run(name, func(b *testing.B) {
			buf, out := []byte(text), make([]byte, 0, 4096)
			without := Kinds(KindXForwardedFor, KindXForwardedProto, KindXForwardedHost, KindVia)
			var r Request
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Parse(buf, nil); err != nil {
					b.Fatal(err)
				}
				out = r.AppendRequestLine(out[:0])
				out = r.AppendFields(out, without)
				out = append(out, "X-Forwarded-For: 127.0.0.1\r\n\r\n"...)
			}
		})
	}
}

func BenchmarkResponseForward(b *testing.B) {
	buf, out := []byte(nginxResponse), make([]byte, 0, 4096)
	var r Response
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Parse(buf, MethodGet, nil); err != nil {
			b.Fatal(err)
		}
		out = r.AppendStatusLine(out[:0])
		out = r.AppendFields(out, Kinds(KindVia))
		out = append(out, "\r\n"...)
	}
}

// BenchmarkChunked follows a chunked body of 64 KiB.
func BenchmarkChunked(b *testing.B) {
	for _, bm := range []struct {
		name string
		size int
	}{{"16", 16}, {"1k", 1 << 10}, {"32k", 32 << 10}} {
		b.Run(bm.name, func(b *testing.B) {
			var body []byte
			for n := 0; n < 64<<10; n += bm.size {
				body = AppendChunkHeader(body, bm.size)
				body = append(body, strings.Repeat("x", bm.size)+"\r\n"...)
			}
			body = append(body, LastChunk...)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var m Body
				m.Init(Chunked, 0)
				if _, n, err := m.Next(body); n != len(body) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
