package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sidecar/admin"
	"sidecar/tap"
)

// tapFlags are what the flags of tap say.
type tapFlags struct {
	rate, count int
	status      string
	endpoint    string
	headers     bool
	allHeaders  bool
	json        bool
}

func newTap() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tap SERVICE",
		Short: "Requests of a service, as they pass",
		Long: `Shows requests of a service of protocol http when they have ended, a line for each: when it
began, the client, the method, the status, how long it took, the endpoint, the path, and at the
end what is out of the ordinary: how often it was tried, and why it did not end well.

At most --rate lines per second are shown, evenly, and it says at the end how many were left
out; what is watched is not slowed down. --status and --endpoint choose before that. With --json
each line is a document that has every attempt, sizes and more.

--headers shows header fields too, but for the values of Authorization, Proxy-Authorization,
Cookie and Set-Cookie, which need --all-headers. Bodies are never shown. On an address of the
network header fields and the query of the path need admin.actions = true; a unix socket
decides by its permissions.

It ends by Ctrl-C, or after --count requests.`,
		Example: `  sidecar tap orders
  sidecar tap orders --status 5xx,none
  sidecar tap orders --endpoint orders-2 --rate 100
  sidecar tap orders --headers --count 1
  sidecar tap orders --json | jq -c '[.method, .target, .took_seconds]'`,
		Args: oneService,
	}
	client, when := adminFlag(cmd), colorFlag(cmd)
	var o tapFlags
	f := cmd.Flags()
	f.IntVar(&o.rate, "rate", tap.UsualRate, fmt.Sprintf("at most so many requests per second, 1 to %d", tap.MostRate))
	f.IntVarP(&o.count, "count", "n", 0, "end after so many requests; 0: go on")
	f.StringVar(&o.status, "status", "", "only these: codes and classes such as 404,5xx; none: was not answered")
	f.StringVar(&o.endpoint, "endpoint", "", "only what was tried on this endpoint: its ID or its address")
	f.BoolVar(&o.headers, "headers", false, "show header fields, but not those that prove who somebody is")
	f.BoolVar(&o.allHeaders, "all-headers", false, "show all header fields, with passwords, tokens and cookies")
	f.BoolVar(&o.json, "json", false, "print a JSON document on each line")
	cmd.ValidArgsFunction = completeService(client)
	_ = cmd.RegisterFlagCompletionFunc("endpoint", func(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return endpointNames(client, args[0], begun), cobra.ShellCompDirectiveNoFileComp
	}) // it fails for a flag that is not there
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		paint, err := painterFor(*when, cmd)
		if err != nil {
			return err
		}
		if err := o.mistake(cmd); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		return runTap(ctx, cmd, client, args, o, paint)
	}
	return cmd
}

// mistake is what is wrong with the flags.
func (o *tapFlags) mistake(cmd *cobra.Command) error {
	if o.rate < 1 || o.rate > tap.MostRate {
		return usage(cmd, "--rate is 1 to %d, and not %d", tap.MostRate, o.rate)
	}
	if o.count < 0 {
		return usage(cmd, "--count is 0 or more, and not %d", o.count)
	}
	if _, err := tap.ParseStatus(o.status); err != nil {
		return usage(cmd, "--status: %w", err)
	}
	return nil
}

func runTap(ctx context.Context, cmd *cobra.Command, client *admin.Client, args []string, o tapFlags, paint painter) error {
	service, err := theService(ctx, client, args, "watched")
	if err != nil {
		return err
	}
	wish := admin.TapOptions{Rate: o.rate, Count: o.count, Status: o.status}
	switch {
	case o.allHeaders:
		wish.Headers = tap.HeadersAll
	case o.headers:
		wish.Headers = tap.HeadersPlain
	}
	if o.endpoint != "" {
		if wish.Endpoint, err = endpointAddress(ctx, client, service, o.endpoint); err != nil {
			return err
		}
	}
	out, encoder := cmd.OutOrStdout(), json.NewEncoder(escaper{cmd.OutOrStdout()})
	encoder.SetEscapeHTML(false)
	var shown, skipped uint64
	err = client.Tap(ctx, service, wish, func(r *tap.Record) error {
		shown++
		skipped += r.Skipped
		if o.json {
			return encoder.Encode(r)
		}
		_, err := fmt.Fprint(out, tapText(r, paint))
		return err
	})
	if skipped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "sidecar: %s shown, %d left out by --rate %d\n", count(shown, "request"), skipped, o.rate)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, syscall.EPIPE) {
		return nil // the user has seen enough
	}
	return err
}

// endpointAddress finds the address of an endpoint by its ID or its address.
func endpointAddress(ctx context.Context, client *admin.Client, service, name string) (string, error) {
	e, err := client.Explain(ctx, service)
	if err != nil {
		return "", err
	}
	var all []string
	for i := range e.Endpoints {
		s := &e.Endpoints[i]
		if s.ID == name || s.Address == name {
			return s.Address, nil
		}
		all = append(all, endpointName(s.ID, s.Address))
	}
	return "", &unknownEndpointError{service, name, all}
}
