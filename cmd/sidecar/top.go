package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sidecar/admin"
)

const (
	topEvery = time.Second
	topLeast = 200 * time.Millisecond
)

func newTop() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top [SERVICE]",
		Short: "Services and endpoints, live in the terminal",
		Long: `Shows the services of a running sidecar and their endpoints, anew every second: requests
(or connections, for protocol tcp) per second, the share of them that failed, latency, what is
in flight, and the breaker. Tries that are repeated count as often as they are tried.

  q, Ctrl-C       leave
  s               sort by the next of: ` + strings.Join(topOrders(), ", ") + `
  j, k, arrows    scroll

It needs a terminal. With --once it prints one table, after it has watched for --interval.`,
		Example: `  sidecar top
  sidecar top orders --sort errors
  sidecar top --once --interval 10s`,
		Args: oneService,
	}
	client, when := adminFlag(cmd), colorFlag(cmd)
	once := cmd.Flags().Bool("once", false, "print one table and end")
	every := cmd.Flags().Duration("interval", topEvery, "time between two looks, 200ms or more")
	order := cmd.Flags().String("sort", topOrders()[0], "what comes first: "+strings.Join(topOrders(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(topOrders(), cobra.ShellCompDirectiveNoFileComp)) // it fails for a flag that is not there
	cmd.ValidArgsFunction = completeService(client)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		paint, err := painterFor(*when, cmd)
		switch {
		case err != nil:
			return err
		case *every < topLeast:
			return usage(cmd, "--interval %v is too short: it is %v or more", *every, topLeast)
		case !slices.Contains(topOrders(), *order):
			return usage(cmd, "--sort is one of %s, and not %q", strings.Join(topOrders(), ", "), *order)
		}
		t := &top{client: client, every: *every, view: topView{order: *order, paint: paint, service: strings.Join(args, "")}}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
		defer stop()
		if *once {
			return t.once(ctx, cmd)
		}
		return t.live(ctx, cmd)
	}
	return cmd
}

// A top asks, and shows what it has been told.
type top struct {
	client *admin.Client
	every  time.Duration
	view   topView
}

// sample is one answer of the sidecar.
type sample struct {
	doc *admin.Document
	err error
}

func (t *top) ask(ctx context.Context) sample {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	doc, err := t.client.Status(ctx)
	return sample{doc, err}
}

// first asks for the first time. What is wrong then is not worth a screen.
func (t *top) first(ctx context.Context) error {
	s := t.ask(ctx)
	if s.err != nil {
		return s.err
	}
	if name := t.view.service; name != "" && !slices.ContainsFunc(s.doc.Services, func(s admin.Service) bool { return s.Service == name }) {
		_, err := t.client.Explain(ctx, name) // which says what there is
		return err
	}
	t.view.now = s.doc
	return nil
}

// take shows a newer answer.
func (t *top) take(s sample) {
	if s.err != nil {
		t.view.trouble = strings.TrimPrefix(s.err.Error(), "admin: ")
		return
	}
	t.view.before, t.view.now, t.view.trouble = t.view.now, s.doc, ""
}

func (t *top) once(ctx context.Context, cmd *cobra.Command) error {
	if err := t.first(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(t.every)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	s := t.ask(ctx)
	if s.err != nil {
		return s.err
	}
	t.take(s)
	_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(t.view.render(), "\n"))
	return err
}

// errNoTerminal is that top cannot be live.
var errNoTerminal = errors.New("top shows itself on a terminal, and here is none; --once prints one table, and \"sidecar status --json\" is for machines")

func (t *top) live(ctx context.Context, cmd *cobra.Command) error {
	keys, in := terminalOf(cmd.InOrStdin())
	out, shown := terminalOf(cmd.OutOrStdout())
	if !in || !shown {
		return usageError{errNoTerminal}
	}
	if err := t.first(ctx); err != nil {
		return err
	}
	screen, err := openScreen(keys, out, cmd.OutOrStdout())
	if err != nil {
		return fmt.Errorf("the terminal cannot be used: %w; --once prints one table", err)
	}
	defer screen.close() // after a panic as well
	ctx, cancel := context.WithCancel(ctx)
	pressed := make(chan byte)
	go screen.read(ctx, pressed)
	defer func() { // the terminal is nobody else's until nobody reads it
		cancel()
		for range pressed { // what was pressed meanwhile is dropped
		}
	}()
	return t.show(ctx, screen, pressed)
}

// show draws whenever there is something new, until the user leaves.
func (t *top) show(ctx context.Context, screen *screen, pressed <-chan byte) error {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	answers := make(chan sample, 1)
	waiting := false
	for {
		t.view.width, t.view.height = screen.size()
		if err := screen.draw(t.view.render()); err != nil {
			return nil // the terminal has gone, and the user with it
		}
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case key, open := <-pressed:
			if !open || !t.press(key) {
				return nil
			}
		case s := <-answers:
			waiting = false
			t.take(s)
		case <-tick.C:
			if waiting {
				continue
			}
			waiting = true
			go func() { answers <- t.ask(ctx) }()
		}
	}
}

// press does what a key is for, and tells whether to go on.
func (t *top) press(key byte) bool {
	switch key {
	case 'q', 'Q':
		return false
	case 's', 'S':
		all := topOrders()
		t.view.order = all[(slices.Index(all, t.view.order)+1)%len(all)]
	case 'j', 'J':
		t.view.scroll++
	case 'k', 'K':
		t.view.scroll--
	}
	return true
}
