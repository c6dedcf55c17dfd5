package main

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sidecar/admin"
)

// answerTimeout is how long a running sidecar may take to answer.
const answerTimeout = 5 * time.Second

// askFlags adds the flags of commands that ask a running sidecar.
func askFlags(cmd *cobra.Command) (address *string, asJSON *bool) {
	address = cmd.Flags().String("admin", admin.DefaultAddress, "the sidecar's admin.listen: host:port or unix:/path")
	asJSON = cmd.Flags().Bool("json", false, "print the document as JSON")
	return address, asJSON
}

func printJSON(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(document)
}

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What a running sidecar knows and does",
		Long: `Asks a running sidecar over its admin interface: services, their sources and their
endpoints, with state and cause. Exits with 1 if it does not answer.`,
		Example: `  sidecar status
  sidecar status --admin unix:/run/sidecar/admin.sock
  sidecar status --json | jq .services`,
		Args: noArguments,
	}
	address, asJSON := askFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
		defer cancel()
		doc, err := (&admin.Client{Address: *address}).Status(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), doc)
		}
		return admin.WriteText(cmd.OutOrStdout(), doc)
	}
	return cmd
}
