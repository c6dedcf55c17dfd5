package h2

import "sidecar/proxy/http/h1"

// dataOverhead is by how much framing.data lengthens what it is given, at most.
const dataOverhead = 16

// framing turns the DATA of one message into the body of the HTTP/1.1 message whose head the
// decoder has made. The zero value is that of a message that has no content.
type framing struct {
	chunked bool
	discard bool  // the content means nothing to anybody
	left    int64 // octets of data that must still come; -1: any number
}

// data appends what becomes of p, the next octets of data, in whole frames or in parts of
// them, without padding. An error says that the message is malformed: it has more data than
// Content-Length announces, or data where there may be none (RFC 9113 §8.1.1).
func (f *framing) data(dst, p []byte) ([]byte, error) {
	if len(p) == 0 || f.discard {
		return dst, nil
	}
	if f.left >= 0 {
		if int64(len(p)) > f.left {
			return dst, errLength
		}
		f.left -= int64(len(p))
	}
	if !f.chunked {
		return append(dst, p...), nil
	}
	dst = h1.AppendChunkHeader(dst, len(p))
	dst = append(dst, p...)
	return append(dst, '\r', '\n'), nil
}

// end appends what ends the body, with the trailer lines that decoder.trailers has made, if
// any; they are lost where HTTP/1.1 has no place for them. An error says that the message is
// malformed: data is missing. It is called once, and not if the head was the end.
func (f *framing) end(dst, trailers []byte) ([]byte, error) {
	if f.left > 0 {
		return dst, errLength
	}
	if !f.chunked {
		return dst, nil
	}
	dst = append(dst, '0', '\r', '\n')
	dst = append(dst, trailers...)
	return append(dst, '\r', '\n'), nil
}
