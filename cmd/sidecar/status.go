package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sidecar/admin"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What a running sidecar knows and does",
		Long: `Asks a running sidecar over its admin interface: services, their sources and their
endpoints, with state and cause.

With --check it exits with 4 when the sidecar is not ready, drains, or has a service that
cannot be served, and says on standard error which; exits with 3 if it does not answer.`,
		Example: `  sidecar status
  sidecar status --admin unix:/run/sidecar/admin.sock
  sidecar status --json | jq '.services[] | {service, usable, total}'
  sidecar status --check >/dev/null || echo "something is wrong"`,
		Args: noArguments,
	}
	client, asJSON, when := adminFlag(cmd), jsonFlag(cmd), colorFlag(cmd)
	check := checkFlag(cmd, "when it is not ready, drains, or a service cannot be served")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		paint, err := painterFor(*when, cmd)
		if err != nil {
			return err
		}
		ctx, cancel := asking(answerTimeout)
		defer cancel()
		doc, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), doc)
		} else {
			err = paint.table(cmd.OutOrStdout(), func(w io.Writer) error { return admin.WriteText(w, doc) })
		}
		if err != nil || !*check {
			return err
		}
		return soundness(doc)
	}
	return cmd
}

// soundness is what is wrong with a sidecar, the worst first, or nil.
func soundness(doc *admin.Document) error {
	switch {
	case doc.Draining:
		return unsoundError{errors.New("the sidecar drains, and is about to end")}
	case !doc.Readiness.Ready:
		text := "the sidecar is not ready"
		for _, m := range doc.Readiness.Missing {
			text += "\n  missing: " + visible(m)
		}
		return unsoundError{errors.New(text)}
	}
	for _, p := range doc.Problems {
		if p.Severity == admin.Outage {
			if p.Service == "" {
				return unsoundError{errors.New(visible(p.What))}
			}
			return unsoundError{fmt.Errorf(`service %s: %s; see "sidecar explain %[1]s"`, p.Service, visible(p.What))}
		}
	}
	return nil
}
