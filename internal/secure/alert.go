package secure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Alerts that tell what is wrong (RFC 8446 §6.2).
const (
	alertFailure      = 40
	alertExpired      = 45
	alertUnknownCA    = 48
	alertDenied       = 49
	alertVersion      = 70
	alertInsecure     = 71
	alertUnrecognized = 112
	alertRequired     = 116
	alertProtocol     = 120
)

// certificateAlert tells whether an alert is about a certificate: bad, of a kind that is not
// supported, revoked, expired, not good otherwise, or one of those named above.
func certificateAlert(number int) bool {
	return number >= 42 && number <= 46 || number == alertUnknownCA || number == alertDenied || number == alertRequired
}

// alertOf returns the number of the alert that the peer has sent. The type that crypto/tls has for
// it is its own, but the words are those of tls.AlertError.
func alertOf(err error) (number int, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	text := op.Err.Error()
	for n := range 256 {
		if tls.AlertError(n).Error() == text {
			return n, true
		}
	}
	return 0, false
}

func alertText(number int) string {
	return fmt.Sprintf("%s (alert %d)", strings.TrimPrefix(tls.AlertError(number).Error(), "tls: "), number)
}
