package spool

import (
	"os"
	"testing"

	"sidecar/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
