package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"sidecar/admin"
)

const (
	// answerTimeout is how long a running sidecar may take to answer.
	answerTimeout = 5 * time.Second
	// reloadTimeout is the same for a reload, which may have to wait for certificates and sockets.
	reloadTimeout = time.Minute
	// completionTimeout is how long it may take to complete a name: nobody waits longer for a Tab.
	completionTimeout = 300 * time.Millisecond
)

// adminVariable says where the admin interface is: as the configuration of a sidecar in this
// environment would have it.
const adminVariable = "SIDECAR_ADMIN_LISTEN"

// adminFlag adds the flag that says where a running sidecar is asked.
func adminFlag(cmd *cobra.Command) *admin.Client {
	client := &admin.Client{}
	cmd.Flags().StringVar(&client.Address, "admin", cmp.Or(os.Getenv(adminVariable), admin.DefaultAddress),
		"the sidecar's admin.listen: host:port or unix:/path; default from $"+adminVariable)
	return client
}

// jsonFlag adds the flag for machines.
func jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print the document as JSON")
}

// checkFlag adds the flag that turns what is wrong into an exit status.
func checkFlag(cmd *cobra.Command, what string) *bool {
	return cmd.Flags().Bool("check", false, "exit with 4 "+what)
}

// asking is the context of one question: Ctrl-C ends it, and so does the limit.
func asking(limit time.Duration) (context.Context, func()) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, func() {
		cancel()
		stop()
	}
}

func printJSON(w io.Writer, document any) error {
	e := json.NewEncoder(escaper{w})
	e.SetIndent("", "  ")
	return e.Encode(document)
}

// An escaper writes JSON of which no terminal takes anything for a command: package json leaves DEL, the
// controls above it (ECMA-48 C1) and what turns the direction of text as they are. They are in strings
// only. A Write is a whole document.
type escaper struct{ to io.Writer }

func (e escaper) Write(text []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(text) {
		if r == '\n' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	if _, err := io.WriteString(e.to, b.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}

// completeService completes the name of a service of the running sidecar. A sidecar that does not
// answer has none: whoever completes does not want to read why.
func completeService(client *admin.Client) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return serviceNames(client, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeEndpoint completes SERVICE and then ENDPOINT.
func completeEndpoint(client *admin.Client) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return serviceNames(client, begun), cobra.ShellCompDirectiveNoFileComp
		case 1:
			return endpointNames(client, args[0], begun), cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

func serviceNames(client *admin.Client, begun string) (names []cobra.Completion) {
	ctx, cancel := asking(completionTimeout)
	defer cancel()
	v, err := client.Verdicts(ctx)
	if err != nil {
		return nil
	}
	for _, s := range v.Services {
		if strings.HasPrefix(s.Service, begun) {
			names = append(names, cobra.CompletionWithDesc(s.Service, visible(s.Verdict)))
		}
	}
	return names
}

// endpointNames are IDs, and addresses only for who has begun one.
func endpointNames(client *admin.Client, service, begun string) (names []cobra.Completion) {
	ctx, cancel := asking(completionTimeout)
	defer cancel()
	e, err := client.Explain(ctx, service)
	if err != nil {
		return nil
	}
	for i := range e.Endpoints {
		s := &e.Endpoints[i]
		switch {
		case visible(s.ID) == s.ID && strings.HasPrefix(s.ID, begun):
			names = append(names, cobra.CompletionWithDesc(s.ID, visible(s.Verdict)))
		case visible(s.Address) == s.Address && strings.HasPrefix(s.Address, begun):
			names = append(names, cobra.CompletionWithDesc(s.Address, visible(s.Verdict)))
		}
	}
	return names
}
