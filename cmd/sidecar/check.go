package main

import (
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
		if err != nil {
			return err
		}
		if *show {
			fmt.Fprint(cmd.OutOrStdout(), cfg.Redacted())
			return nil
		}
		if empty(cfg) {
			return errNothing
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %s\n", source(*file), contents(cfg))
		return nil
	}
	return cmd
}

// empty tells whether a configuration asks for nothing.
func empty(cfg *config.Config) bool { return len(cfg.Services) == 0 && len(cfg.Registers) == 0 }

// contents is what a configuration asks for.
func contents(cfg *config.Config) string {
	text := count(uint64(len(cfg.Services)), "service")
	if n := len(cfg.Registers); n > 0 {
		text += ", " + count(uint64(n), "announcement")
	}
	return text
}

func source(file string) string {
	if file == "" {
		return "the environment"
	}
	return file
}

// count is a number of things in words: "1 service", "2 services".
func count(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
