package main

import (
	"github.com/spf13/cobra"
)

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Completions for bash, zsh, fish or PowerShell",
		Long: `Writes the completions of a shell to standard output: bash, zsh, fish or powershell. Names of
services and endpoints come from the running sidecar while the command line is typed; when it
does not answer within 300 ms there are none.`,
		Example: `  sidecar completion bash > /etc/bash_completion.d/sidecar
  sidecar completion zsh > "${fpath[1]}/_sidecar"
  sidecar completion fish > ~/.config/fish/completions/sidecar.fish`,
		ValidArgs: []cobra.Completion{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			shell := ""
			if len(args) == 1 {
				shell = args[0]
			}
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch shell {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usage(cmd, "completion takes the name of one shell: bash, zsh, fish or powershell")
		},
	}
}
