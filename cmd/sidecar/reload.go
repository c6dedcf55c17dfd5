package main

import (
	"github.com/spf13/cobra"
)

func newReload() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the configuration loaded again",
		Long: `Has the running sidecar load its configuration again, as SIGHUP does, waits until that is
done, and says what has changed, and what takes effect only when it is started again. What
did not change lives on: connections, sessions, and what is known of endpoints.

A configuration with mistakes changes nothing: they are printed as "check" does, and the exit
status is 1. "check --against-running" says beforehand what would change.`,
		Example: `  sidecar reload
  sidecar check -c /etc/sidecar/config.toml --against-running && sidecar reload`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	client, asJSON := adminFlag(cmd), jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := asking(reloadTimeout)
		defer cancel()
		report, err := client.Reload(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), report)
		}
		return writeReport(cmd.OutOrStdout(), report, "changed:", "takes effect only when the sidecar is started again:")
	}
	return cmd
}
