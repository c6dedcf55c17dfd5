package admin

import (
	"mime"
	"strconv"
	"strings"
)

// preferred is the offer that Accept headers like best. A draw, and a client that likes
// none of them, gets the first: an answer in the wrong form helps more than none.
func preferred(accept, offers []string) string {
	best, liked := offers[0], 0.0
	for _, offer := range offers {
		if q := quality(accept, offer); q > liked {
			best, liked = offer, q
		}
	}
	return best
}

// quality is how much a client likes a media type, from 0 to 1. The most specific range that
// covers the type decides.
func quality(accept []string, offer string) float64 {
	family, _, _ := strings.Cut(offer, "/")
	found, q := 0, 0.0
	for element := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		var specific int
		switch name {
		case offer:
			specific = 3
		case family + "/*":
			specific = 2
		case "*/*":
			specific = 1
		}
		if specific > found {
			found, q = specific, 1
			if v, err := strconv.ParseFloat(params["q"], 64); err == nil {
				q = v
			}
		}
	}
	return q
}
