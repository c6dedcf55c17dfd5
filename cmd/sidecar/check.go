package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sidecar/admin"
	"sidecar/config"
)

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say every mistake of a configuration",
		Long: `Loads the configuration as "run" would, the SIDECAR_ variables of this environment
included, and says every mistake with file, line and key. Exits with 1 if there is one.

With --against-running the running sidecar looks at the file instead, with the variables of
its own environment, and says what a reload to it would change. Nothing is changed by that.`,
		Example: `  sidecar check --config /etc/sidecar/config.toml
  sidecar check --config new.toml --against-running`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	file, client, asJSON := configFlag(cmd), adminFlag(cmd), cmd.Flags().Bool("json", false, "with --against-running: print the answer as JSON")
	show := cmd.Flags().Bool("print", false, "print the effective configuration, with secrets hidden")
	against := cmd.Flags().Bool("against-running", false, "say what a reload of the running sidecar to this file would change")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *against && *show {
			return usage(cmd, "--print and --against-running are two questions: ask one of them")
		}
		if *against {
			return compare(cmd, client, *file, *asJSON)
		}
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

func compare(cmd *cobra.Command, client *admin.Client, file string, asJSON bool) error {
	if file == "" {
		return usage(cmd, "--against-running compares a file: name it with --config")
	}
	ctx, cancel := asking(reloadTimeout)
	defer cancel()
	report, err := againstRunning(ctx, client, file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), report)
	}
	return writeReport(cmd.OutOrStdout(), report, "would change:", "would take effect only when the sidecar is started again:")
}

// writeReport says what a reload has changed, or would change.
func writeReport(w io.Writer, report admin.Report, changed, restart string) error {
	if len(report.Changed)+len(report.Restart) == 0 {
		_, err := fmt.Fprintln(w, "nothing differs from what is running")
		return err
	}
	for _, part := range []struct {
		title string
		lines []string
	}{{changed, report.Changed}, {restart, report.Restart}} {
		if len(part.lines) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(w, part.title); err != nil {
			return err
		}
		for _, line := range part.lines {
			if _, err := fmt.Fprintln(w, "  "+line); err != nil {
				return err
			}
		}
	}
	return nil
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
