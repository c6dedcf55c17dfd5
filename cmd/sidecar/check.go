package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sidecar/config"
)

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say every mistake of a configuration",
		Long: `Loads the configuration as "run" would, the SIDECAR_ variables of this environment
included, and says every mistake with file, line and key. Exits with 1 if there is one.`,
		Example: "  sidecar check --config /etc/sidecar/config.toml",
		Args:    noArguments,
	}
	file := configFlag(cmd)
	show := cmd.Flags().Bool("print", false, "print the effective configuration, with secrets hidden")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*file)
		var mistakes *config.Errors
		if errors.As(err, &mistakes) {
			fmt.Fprintln(cmd.ErrOrStderr(), mistakes)
			return exitError{1}
		}
		if err != nil {
			return err
		}
		if *show {
			fmt.Fprint(cmd.OutOrStdout(), cfg.Redacted())
			return nil
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %d services\n", source(*file), len(cfg.Services))
		return nil
	}
	return cmd
}

func source(file string) string {
	if file == "" {
		return "the environment"
	}
	return file
}
