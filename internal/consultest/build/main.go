// The command build makes sure that the Consul agent for the tests is there, so that the
// tests that come after it do not wait for each other, and prints where it is.
package main

import (
	"fmt"
	"os"

	"sidecar/internal/consultest"
)

func main() {
	path, err := consultest.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, "consultest:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}
