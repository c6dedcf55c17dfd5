// Command sidecar stands beside a service's clients on every host: applications call a port
// of localhost, and it finds the service's instances, chooses one and forwards to it.
//
//	sidecar run --config FILE      serve, until SIGTERM or SIGINT
//	sidecar check --config FILE    say every mistake of a configuration
//	sidecar status                 what a running sidecar knows and does
//	sidecar explain SERVICE        why its traffic goes where it goes
//	sidecar demo                   try it without anything else
//	sidecar version
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sidecar/config"
)

func main() { os.Exit(main1(os.Args[1:], os.Stdout, os.Stderr)) }

// main1 runs the command line and returns the exit status: 0 for success, 1 for failure, 2
// for a command line that is not understood.
func main1(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	var usage usageError
	var mistakes *config.Errors
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "sidecar: %v\n", err)
		return 2
	case errors.As(err, &mistakes):
		fmt.Fprintln(stderr, mistakes) // a line each, which begins with file and line for editors
		return 1
	}
	fmt.Fprintf(stderr, "sidecar: %v\n", err)
	return 1
}

// usageError is a command line that is not understood.
type usageError struct{ error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sidecar",
		Short: "A sidecar proxy for services registered in Consul",
		Long: `A sidecar proxy: applications call a port of localhost, the sidecar finds the service's
healthy instances in Consul or a static list, chooses one past circuit breakers, and
forwards TCP or HTTP to it.

Start with "sidecar demo", which needs nothing else.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %q", err, cmd.CommandPath()+" --help")}
	})
	root.AddCommand(newRun(), newCheck(), newStatus(), newExplain(), newDemo(), newVersion())
	return root
}

// configFlag adds the flag that names the configuration.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", "", "configuration file; without one, the environment's SIDECAR_ variables alone")
}

// noSuchCommand is for what stands where a command should.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return usageError{fmt.Errorf("unknown command %q%s; see %q", args[0], hint, cmd.CommandPath()+" --help")}
}

// noArguments is cobra.NoArgs with the project's words.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, and got %q; see %q", cmd.CommandPath(), args[0], cmd.CommandPath()+" --help")}
	}
	return nil
}
