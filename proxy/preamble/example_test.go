package preamble_test

import (
	"fmt"

	"sidecar/proxy/preamble"
)

func ExampleParse() {
	received := []byte("PROXY TCP4 192.0.2.1 198.51.100.2 56324 80\r\nGET / HTTP/1.1\r\n")
	for have := range len(received) {
		header, n, err := preamble.Parse(received[:have])
		if err != nil {
			fmt.Println(err)
			return
		}
		if n > 0 {
			fmt.Printf("%d bytes: %v wants to reach %v\n", n, header.Source, header.Destination)
			return
		}
	}
	// Output: 44 bytes: 192.0.2.1:56324 wants to reach 198.51.100.2:80
}
