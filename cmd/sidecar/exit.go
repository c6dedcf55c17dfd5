package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sidecar/admin"
	"sidecar/config"
)

// The exit statuses. They are an interface: scripts go by them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitUnsound     = 4
)

// newExitCodes is the help topic about them.
func newExitCodes() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit status of a command says",
		Long: `What the exit status of a command says:

  0  it is done
  1  it failed: the configuration has mistakes, the sidecar refuses, or it has no service or
     endpoint of that name; standard error says which
  2  the command line is not understood, and nothing was done
  3  no running sidecar answers: it is not running, listens elsewhere than --admin says, or
     this user may not ask it
  4  with --check only: it answers, and what was asked about is not as it should be

"run" ends with 0 after SIGTERM or SIGINT, also when connections had to be cut at the end of
the drain. "top" and "tap" end with 0 when they are left, by Ctrl-C too. A process that is
killed has no exit status of its own; a shell shows 128 and the number of the signal.`,
	}
}

// usageError is a command line that is not understood.
type usageError struct{ error }

// usage is a mistake in the command line; the error ends with where to read on.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return usageError{fmt.Errorf("%w; see %q", fmt.Errorf(format, args...), cmd.CommandPath()+" --help")}
}

// flagMistake says what is wrong with a flag. What package strconv calls by its own names is said in words.
func flagMistake(cmd *cobra.Command, err error) error {
	text := err.Error()
	said, _, _ := strings.Cut(text, ": strconv.")
	var number *strconv.NumError
	switch {
	case errors.As(err, &number) && number.Func == "ParseBool":
		text = said + ": want true or false"
	case errors.As(err, &number) && errors.Is(err, strconv.ErrRange):
		text = said + ": want a whole number, and a smaller one"
	case errors.As(err, &number):
		text = said + ": want a whole number"
	case strings.Contains(text, ": time: "):
		said, _, _ = strings.Cut(text, ": time: ")
		text = said + ": want a time such as 500ms or 5s"
	}
	return usage(cmd, "%s", text)
}

// unsoundError is what --check has found.
type unsoundError struct{ error }

// exitStatus tells the user how a command line ended, and returns the exit status.
func exitStatus(err error, stderr io.Writer) int {
	var mistakes *config.Errors
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &mistakes):
		fmt.Fprintln(stderr, mistakes) // a line each, which begins with file and line for editors
		return exitFailed
	case errors.Is(err, context.Canceled): // by Ctrl-C, which needs no word
		return exitFailed
	}
	// Which package has said it is for the log; here it is always the one that asks.
	// Some of it may be from a registry.
	lines := strings.Split(strings.TrimPrefix(err.Error(), "admin: "), "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	fmt.Fprintf(stderr, "sidecar: %s\n", strings.Join(lines, "\n"))
	var misread usageError
	var unsound unsoundError
	var unreachable *admin.Unreachable
	var address *admin.AddressError
	switch {
	case errors.As(err, &misread), errors.As(err, &address):
		return exitUsage
	case errors.As(err, &unreachable):
		return exitUnreachable
	case errors.As(err, &unsound):
		return exitUnsound
	}
	return exitFailed
}
