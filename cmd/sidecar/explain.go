package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sidecar/admin"
)

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain SERVICE",
		Short: "Why a service's traffic goes where it goes",
		Long: `Asks a running sidecar over its admin interface how a service stands: its source, limits
and retry budget; each endpoint with its share of the traffic, and what keeps it from more:
the verdict in words, the last errors, until when; and the decisions that led there, newest
last. Without SERVICE it explains the only one there is. Exits with 1 if the sidecar does
not answer or has no such service.`,
		Example: `  sidecar explain orders
  sidecar explain orders --admin unix:/run/sidecar/admin.sock
  sidecar explain orders --json | jq '.endpoints[] | {id, state, verdict}'`,
		Args: oneService,
	}
	address, asJSON := askFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
		defer cancel()
		client := &admin.Client{Address: *address}
		name, err := theService(ctx, client, args)
		if err != nil {
			return err
		}
		e, err := client.Explain(ctx, name)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), e)
		}
		return admin.WriteExplanation(cmd.OutOrStdout(), e)
	}
	return cmd
}

// oneService is for the arguments of explain.
func oneService(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("%s takes one service, and got %q; see %q", cmd.CommandPath(), args, cmd.CommandPath()+" --help")}
	}
	return nil
}

// theService is the service that is asked for, or the only one there is. Of several, none is
// the obvious one, and the error shows how each stands.
func theService(ctx context.Context, client *admin.Client, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	v, err := client.Verdicts(ctx)
	if err != nil {
		return "", err
	}
	switch len(v.Services) {
	case 0:
		return "", errors.New("the sidecar has no services")
	case 1:
		return v.Services[0].Service, nil
	}
	var table strings.Builder
	_ = admin.WriteVerdicts(&table, v) // a Builder takes everything
	return "", usageError{fmt.Errorf("which service is to be explained?\n\n%s", strings.TrimSuffix(table.String(), "\n"))}
}
