package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
last. Without SERVICE it explains the only one there is. Exits with 3 if the sidecar does
not answer, and with 1 if it has no such service.

With --check it exits with 4 when the service cannot be served as it should: no endpoint is
usable, or those that are used ought not to be, or it is on its fallback.`,
		Example: `  sidecar explain orders
  sidecar explain orders --admin unix:/run/sidecar/admin.sock
  sidecar explain orders --json | jq '.endpoints[] | {id, state, verdict}'`,
		Args: oneService,
	}
	client, asJSON, when := adminFlag(cmd), jsonFlag(cmd), colorFlag(cmd)
	check := checkFlag(cmd, "when the service cannot be served as it should")
	cmd.ValidArgsFunction = completeService(client)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		paint, err := painterFor(*when, cmd)
		if err != nil {
			return err
		}
		ctx, cancel := asking(answerTimeout)
		defer cancel()
		name, err := theService(ctx, client, args, "explained")
		if err != nil {
			return err
		}
		e, err := client.Explain(ctx, name)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), e)
		} else {
			err = paint.table(cmd.OutOrStdout(), func(w io.Writer) error { return admin.WriteExplanation(w, e) })
		}
		if err == nil && *check && (e.Unavailable != "" || e.FailOpen != "" || e.Fallback) {
			err = unsoundError{fmt.Errorf("service %s: %s", e.Service.Service, visible(e.Verdict))}
		}
		return err
	}
	return cmd
}

// oneService is for the arguments of commands about one service.
func oneService(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage(cmd, "%s takes one service, and got %q", cmd.Name(), args)
	}
	return nil
}

// theService is the service that is asked for, or the only one there is. Of several, none is
// the obvious one, and the error shows how each stands.
func theService(ctx context.Context, client *admin.Client, args []string, done string) (string, error) {
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
	return "", usageError{fmt.Errorf("which service is to be %s?\n\n%s", done, strings.TrimSuffix(table.String(), "\n"))}
}
