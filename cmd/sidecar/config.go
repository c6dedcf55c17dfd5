package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"sidecar/admin"
	"sidecar/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config [TEXT]",
		Short: "Every value of a configuration, and where it comes from",
		Long: `Loads the configuration as "run" would, the SIDECAR_ variables of this environment
included, and lists every value with its origin, secrets hidden:

  default            nothing sets it
  FILE:LINE          the file does; with [defaults] behind it, for all services
  env NAME           an environment variable does
  derived            it follows from other keys, such as an announcement's id

With TEXT it lists only the keys that have TEXT in them. With --running it asks the running
sidecar instead, whose file or environment may have been another one. "check --print" prints
the same as a file that can be loaded.`,
		Example: `  sidecar config -c /etc/sidecar/config.toml
  sidecar config -c /etc/sidecar/config.toml timeout
  sidecar config --running "service orders"
  sidecar config --running --set
  sidecar config --running --json | jq '.[] | select(.origin != "default")'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(cmd, "%s takes one text, and got %q; put it in quotes", cmd.Name(), args)
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	file, client, asJSON, when := configFlag(cmd), adminFlag(cmd), jsonFlag(cmd), colorFlag(cmd)
	live := cmd.Flags().Bool("running", false, "what the running sidecar goes by")
	onlySet := cmd.Flags().Bool("set", false, "only what is not at its default")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *live && *file != "" {
			return usage(cmd, "--running asks the sidecar, which has a file of its own: leave --config away")
		}
		paint, err := painterFor(*when, cmd)
		if err != nil {
			return err
		}
		values, err := valuesOf(*file, client, *live)
		if err != nil {
			return err
		}
		values = wanted(values, strings.Join(args, ""), *onlySet)
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), values)
		}
		return writeValues(cmd.OutOrStdout(), values, paint)
	}
	return cmd
}

// valuesOf are the values of a file and the environment, or of the running sidecar.
func valuesOf(file string, client *admin.Client, live bool) ([]admin.ConfigValue, error) {
	if live {
		ctx, cancel := asking(answerTimeout)
		defer cancel()
		return client.Origins(ctx)
	}
	_, loaded, err := config.LoadWithOrigins(file, os.Environ())
	if err != nil {
		return nil, err
	}
	values := make([]admin.ConfigValue, len(loaded))
	for i, v := range loaded {
		values[i] = admin.ConfigValue{Key: v.Path, Value: v.Text, Origin: v.Origin}
	}
	return values, nil
}

// wanted are the values whose key has text in it; with onlySet those that somebody has set.
func wanted(values []admin.ConfigValue, text string, onlySet bool) []admin.ConfigValue {
	chosen := []admin.ConfigValue{} // none is [] as JSON
	for _, v := range values {
		if strings.Contains(v.Key, text) && (!onlySet || v.Origin != "default" && v.Origin != "derived") {
			chosen = append(chosen, v)
		}
	}
	return chosen
}

// writeValues prints an aligned list, in which what nobody has set stands back.
func writeValues(w io.Writer, values []admin.ConfigValue, paint painter) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, v := range values {
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Key, shortened(v.Value), v.Origin)
	}
	_ = table.Flush() // a Builder takes everything
	var out strings.Builder
	i := 0
	for line := range strings.Lines(text.String()) {
		if v := values[i]; v.Origin == "default" {
			line = paint.paint(dim, strings.TrimSuffix(line, "\n")) + "\n"
		}
		out.WriteString(line)
		i++
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// longestValue is how much of a value stands in a line; --json has all of it.
const longestValue = 60

// shortened is a value on one line: TOML has escaped what would break it.
func shortened(value string) string {
	if runes := []rune(value); len(runes) > longestValue {
		return string(runes[:longestValue-1]) + "…"
	}
	return value
}

// againstRunning says what a reload of the running sidecar to a file would change.
func againstRunning(ctx context.Context, client *admin.Client, file string, stdin io.Reader) (admin.Report, error) {
	var toml []byte
	var err error
	if file == "-" {
		toml, err = io.ReadAll(stdin)
	} else {
		toml, err = os.ReadFile(file)
	}
	if err != nil {
		return admin.Report{}, fmt.Errorf("the file to compare cannot be read: %w; check the path given with --config", err)
	}
	return client.Diff(ctx, toml)
}
