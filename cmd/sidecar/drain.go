package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sidecar/admin"
)

// An endpointAction is what can be asked for about one endpoint.
type endpointAction struct {
	word string // as the admin interface has it
	done string // what it comes to, said of "endpoint X of service Y"
}

var (
	actDrain   = endpointAction{"drain", "gets no more traffic; what runs goes on"}
	actUndrain = endpointAction{"undrain", "may get traffic again"}
	actUneject = endpointAction{"uneject", "is no longer ejected"}
)

func newDrain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain [SERVICE ENDPOINT]",
		Short: "Take an endpoint out, or end the sidecar in order",
		Long: `With SERVICE and ENDPOINT, which is an ID or an address, that endpoint gets no more
requests and connections; those it has go on. It holds until "undrain", or until the sidecar
is started anew.

Without them the sidecar itself drains, as on SIGTERM: it becomes not ready, withdraws its
announcements, stops accepting, lets what is running end for runtime.drain at most, and ends.
Under systemd it may be started again at once; "systemctl stop sidecar" is for good. It asks
first on a terminal, and elsewhere wants --yes.

On an address of the network this needs admin.actions = true; a unix socket decides by its
permissions.`,
		Example: `  sidecar drain orders orders-2
  sidecar drain orders 10.0.0.2:8080 --admin unix:/run/sidecar/admin.sock
  sidecar drain --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return serviceAndEndpoint(cmd, args)
		},
	}
	client := adminFlag(cmd)
	yes := cmd.Flags().BoolP("yes", "y", false, "do not ask whether the sidecar is to end")
	cmd.ValidArgsFunction = completeEndpoint(client)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return act(cmd, client, actDrain, args)
		}
		return drainAll(cmd, client, *yes)
	}
	return cmd
}

func newUndrain() *cobra.Command {
	return newEndpointCommand(actUndrain, &cobra.Command{
		Use:   "undrain SERVICE ENDPOINT",
		Short: "Put an endpoint back that was drained",
		Long: `Puts an endpoint back that was taken out by "drain". ENDPOINT is its ID or its address. It
gets traffic again as far as its health check and its breaker allow.`,
		Example: "  sidecar undrain orders orders-2",
	})
}

func newUneject() *cobra.Command {
	return newEndpointCommand(actUneject, &cobra.Command{
		Use:   "uneject SERVICE ENDPOINT",
		Short: "End an endpoint's ejection",
		Long: `Ends the ejection of an endpoint that its breaker has put out, before its time is over.
ENDPOINT is its ID or its address. If it fails again it is ejected again.`,
		Example: "  sidecar uneject orders orders-2",
	})
}

func newEndpointCommand(a endpointAction, cmd *cobra.Command) *cobra.Command {
	cmd.Long += `

On an address of the network this needs admin.actions = true; a unix socket decides by its
permissions.`
	cmd.Args = serviceAndEndpoint
	client := adminFlag(cmd)
	cmd.ValidArgsFunction = completeEndpoint(client)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return act(cmd, client, a, args) }
	return cmd
}

// serviceAndEndpoint is for the arguments of commands about one endpoint.
func serviceAndEndpoint(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		return nil
	}
	return usage(cmd, "%s takes SERVICE and ENDPOINT, and got %q", cmd.Name(), args)
}

// act has something done with the endpoint that the arguments name.
func act(cmd *cobra.Command, client *admin.Client, a endpointAction, args []string) error {
	ctx, cancel := asking(answerTimeout)
	defer cancel()
	id, err := endpointID(ctx, client, args[0], args[1])
	if unknown := new(unknownEndpointError); errors.As(err, &unknown) && a == actUndrain {
		id, err = args[1], nil // what has left the service may be drained still
		if e := client.Endpoint(ctx, args[0], id, a.word); e != nil {
			if admin.IsNoEndpoint(e) {
				return unknown
			}
			return e // it was not even looked for
		}
	} else if err == nil {
		err = client.Endpoint(ctx, args[0], id, a.word)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "endpoint %s of service %s %s\n", visible(id), args[0], a.done)
	return err
}

// endpointID finds an endpoint by its ID or its address.
func endpointID(ctx context.Context, client *admin.Client, service, name string) (string, error) {
	e, err := client.Explain(ctx, service)
	if err != nil {
		return "", err
	}
	var at, all []string
	for i := range e.Endpoints {
		s := &e.Endpoints[i]
		switch {
		case s.ID == name:
			return name, nil
		case s.Address == name:
			at = append(at, s.ID)
		}
		all = append(all, endpointName(s.ID, s.Address))
	}
	switch len(at) {
	case 0:
		return "", &unknownEndpointError{service, name, all}
	case 1:
		return at[0], nil
	}
	return "", fmt.Errorf("service %s has %d endpoints at %s: name one of them by its ID: %s", service, len(at), name, visible(strings.Join(at, ", ")))
}

// endpointName is both names of an endpoint, or the one that it has.
func endpointName(id, address string) string {
	if id == address {
		return visible(id)
	}
	return visible(id + " (" + address + ")")
}

// mostNames is how many endpoints an error lists.
const mostNames = 20

// unknownEndpointError is that a service has no such endpoint; all are those it has.
type unknownEndpointError struct {
	service, name string
	all           []string
}

func (e *unknownEndpointError) Error() string {
	if len(e.all) == 0 {
		return fmt.Sprintf("service %s has no endpoint %q, and none at all; \"sidecar explain %[1]s\" says why", e.service, e.name)
	}
	names, more := e.all, ""
	if n := len(names) - mostNames; n > 0 {
		names, more = names[:mostNames], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("service %s has no endpoint %q; those it has: %s%s", e.service, e.name, strings.Join(names, ", "), more)
}

// drainAll has the sidecar end, after the user has said so.
func drainAll(cmd *cobra.Command, client *admin.Client, yes bool) error {
	ctx, cancel := asking(answerTimeout)
	doc, err := client.Status(ctx)
	cancel()
	if err != nil {
		return err
	}
	if doc.Draining {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "it drains already")
		return err
	}
	if !yes {
		if err := confirm(cmd, doc); err != nil {
			return err
		}
	}
	ctx, cancel = asking(answerTimeout)
	defer cancel()
	if err := client.Drain(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), `it drains, and ends when what is running has ended; "sidecar status" shows how far it is`)
	return err
}

// confirm asks on the terminal whether the sidecar is to end.
func confirm(cmd *cobra.Command, doc *admin.Document) error {
	if !isTerminal(cmd.InOrStdin()) {
		return usage(cmd, "this ends the sidecar, and there is no terminal to ask on: say --yes, or name SERVICE and ENDPOINT to take one endpoint out")
	}
	var active int64
	for _, l := range doc.Listeners {
		active += l.Active
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "This drains the sidecar, and ends it: pid %d, %s, %s of clients. Go on? [y/N] ",
		doc.PID, count(uint64(len(doc.Services)), "service"), count(uint64(max(active, 0)), "connection"))
	answer, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n') // what ends without an answer is a no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}
