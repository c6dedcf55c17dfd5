// Command sidecar stands beside a service's clients on every host: applications call a port
// of localhost, and it finds the service's instances, chooses one and forwards to it.
//
//	sidecar run --config FILE          serve, until SIGTERM or SIGINT
//	sidecar check --config FILE        say every mistake of a configuration
//	sidecar config --config FILE       every value that holds, and where it comes from
//	sidecar status                     what a running sidecar knows and does
//	sidecar explain SERVICE            why its traffic goes where it goes
//	sidecar top                        the same, live
//	sidecar tap SERVICE                its requests as they pass
//	sidecar reload                     have the configuration loaded again
//	sidecar drain [SERVICE ENDPOINT]   take an endpoint out, or end the sidecar in order
//	sidecar undrain SERVICE ENDPOINT   put it back
//	sidecar uneject SERVICE ENDPOINT   end its ejection
//	sidecar demo                       try it without anything else
//	sidecar completion SHELL           completions for a shell
//	sidecar version
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(main1(os.Args[1:], os.Stdout, os.Stderr)) }

// main1 runs the command line and returns the exit status, one of exit.go's.
func main1(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return exitStatus(root.Execute(), stderr)
}

// The groups of commands in the help text.
const (
	groupServe = "serve"
	groupAsk   = "ask"
	groupAct   = "act"
)

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
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(flagMistake)
	root.CompletionOptions.DisableDefaultCmd = true // newCompletion takes its place
	root.SetHelpCommand(newHelp(root))
	root.AddGroup(
		&cobra.Group{ID: groupServe, Title: "Serve:"},
		&cobra.Group{ID: groupAsk, Title: "Ask a running sidecar:"},
		&cobra.Group{ID: groupAct, Title: "Have a running sidecar do something:"},
	)
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
		}
		root.AddCommand(commands...)
	}
	group(groupServe, newRun(), newCheck(), newConfig(), newDemo())
	group(groupAsk, newStatus(), newExplain(), newTop(), newTap())
	group(groupAct, newReload(), newDrain(), newUndrain(), newUneject())
	root.AddCommand(newCompletion(), newVersion(), newExitCodes())
	return root
}

// configFlag adds the flag that names the configuration.
func configFlag(cmd *cobra.Command) *string {
	file := cmd.Flags().StringP("config", "c", "", "configuration file; without one, the environment's SIDECAR_ variables alone")
	_ = cmd.MarkFlagFilename("config", "toml") // it fails for a flag that is not there
	return file
}

// noSuchCommand is for what stands where a command should.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(cmd, "unknown command %q%s", args[0], hint(cmd, args[0]))
}

// hint names the command that was probably meant.
func hint(root *cobra.Command, name string) string {
	near := root.SuggestionsFor(name)
	if len(near) == 0 {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near[0])
}

// newHelp is cobra's help, which minds when there is nothing of that name.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command, or about exit-codes",
		ValidArgsFunction: func(_ *cobra.Command, _ []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
			for _, c := range root.Commands() {
				names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			about, _, err := root.Find(args)
			if err != nil || about == root && len(args) > 0 {
				return usage(root, "there is no help about %q%s", args[0], hint(root, args[0]))
			}
			about.InitDefaultHelpFlag() // which its list of flags has
			return about.Help()
		},
	}
}

// noArguments is cobra.NoArgs with the project's words.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "%s takes no arguments, and got %q", cmd.Name(), args[0])
	}
	return nil
}
