package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"sidecar/admin"
	"sidecar/config"
	"sidecar/internal/daemon"
)

// demoOptions are what the flags of demo say.
type demoOptions struct {
	http, tcp, admin string
	every            time.Duration
	verbose          bool
}

func newDemo() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it without anything else",
		Long: `Runs a sidecar in front of three small servers inside this process: one that works, one
that is slow, and one that fails every tenth request. Every few seconds it prints who got
what. It needs no Consul, no file and no privilege; end it with Ctrl-C.`,
		Args: noArguments,
	}
	f := cmd.Flags()
	f.StringVar(&o.http, "http", "127.0.0.1:7001", "where service demo listens (HTTP)")
	f.StringVar(&o.tcp, "tcp", "127.0.0.1:7002", "where service demo-tcp listens (TCP)")
	f.StringVar(&o.admin, "admin", admin.DefaultAddress, "where the admin interface listens")
	f.DurationVar(&o.every, "every", 5*time.Second, "time between two summaries; 0s: none")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "write the sidecar's log too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		context.AfterFunc(ctx, stop)
		return runDemo(ctx, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func runDemo(ctx context.Context, o demoOptions, stdout, stderr io.Writer) error {
	origins, err := startOrigins()
	if err != nil {
		return err
	}
	defer origins.close()
	cfg, err := config.Parse("demo", []byte(demoConfig(o, origins.addresses())), nil)
	if err != nil {
		return demoFlagError(o, err)
	}
	log := zap.NewNop()
	if o.verbose {
		log = newLogger(config.Log{Level: "info", Format: "console"}, stderr)
	}
	d, err := daemon.New(cfg, daemon.Options{Version: version(), Revision: revision(), Log: log})
	if err != nil {
		return demoListenError(o, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if d.AwaitReady(ctx) != nil {
			return
		}
		// What is to be pasted must work by then.
		fmt.Fprint(stdout, demoGreeting(o.opened(d), origins))
		summarize(ctx, d, origins, o.every, stdout)
	}()
	err = runDaemon(ctx, d)
	<-done
	fmt.Fprintln(stdout, "the demo has ended")
	return err
}

// opened are the options with the ports that the system has chosen where port 0 was asked for.
func (o demoOptions) opened(d *daemon.Daemon) demoOptions {
	for _, l := range d.Status().Listeners {
		if l.Service == "demo" {
			o.http = l.Address
		} else {
			o.tcp = l.Address
		}
	}
	o.admin = d.AdminAddress()
	return o
}

// demoConfig is the configuration of the demo. It is that of a user with a static list, but
// for a short drain: nobody waits half a minute for a demo.
func demoConfig(o demoOptions, addresses []string) string {
	instances := `"` + strings.Join(addresses, `", "`) + `"`
	return fmt.Sprintf(`
[admin]
listen = %q

[runtime]
drain = "2s"

[defaults.discovery]
source    = "static"
instances = [%s]

[[service]]
name   = "demo"
listen = %q

[[service]]
name     = "demo-tcp"
listen   = %q
protocol = "tcp"
`, o.admin, instances, o.http, o.tcp)
}

// demoFlagError turns a mistake of the demo's configuration into one of its flags, where
// every value of a user comes from.
func demoFlagError(o demoOptions, err error) error {
	var mistakes *config.Errors
	if !errors.As(err, &mistakes) {
		return err
	}
	var lines []string
	for _, p := range mistakes.Problems {
		flag, value := "--http", o.http
		switch {
		case strings.HasPrefix(p.Key, "admin"):
			flag, value = "--admin", o.admin
		case strings.HasPrefix(p.Key, "service[1]"):
			flag, value = "--tcp", o.tcp
		}
		lines = append(lines, fmt.Sprintf("%s %q: %s", flag, value, p.Message))
	}
	return usageError{errors.New(strings.Join(lines, "\n"))}
}

// demoListenError names the flag that moves a port which is in use.
func demoListenError(o demoOptions, err error) error {
	var closed *daemon.AdminError
	if errors.As(err, &closed) {
		return fmt.Errorf("%w; for the demo that is --admin, such as --admin 127.0.0.1:19901", err)
	}
	var listen *daemon.ListenError
	if !errors.As(err, &listen) || !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	address, flag := o.http, "--http"
	if listen.Service == "demo-tcp" {
		address, flag = o.tcp, "--tcp"
	}
	return fmt.Errorf("%s is in use by another process; choose another address with %s, such as %s 127.0.0.1:17001", address, flag, flag)
}

func demoGreeting(o demoOptions, origins *demoOrigins) string {
	var b strings.Builder
	fmt.Fprintln(&b, "A sidecar runs in front of three servers:")
	for _, s := range origins.servers {
		fmt.Fprintf(&b, "  %-22s %s\n", s.address, s.what)
	}
	fmt.Fprintf(&b, `
  demo      http://%s   (each request is balanced)
  demo-tcp  %s          (each connection is balanced)

Paste into another terminal:

  curl -i http://%s/
  for i in $(seq 20); do curl -s http://%s/; done
  wrk -c 32 -d 10s http://%s/
  curl -s http://%s/          # the same servers, over the TCP service
`, o.http, o.tcp, o.http, o.http, o.http, o.tcp)
	if o.admin != "" {
		fmt.Fprintf(&b, `  sidecar status --admin %s
  sidecar explain demo --admin %s
  sidecar top --admin %s
  sidecar tap demo --admin %s
  curl -s http://%s/metrics | grep sidecar_endpoint
`, o.admin, o.admin, o.admin, o.admin, o.admin)
	}
	fmt.Fprint(&b, "\nCtrl-C ends it.\n\n")
	return b.String()
}

// summarize prints who got what since the last time, as long as ctx lives.
func summarize(ctx context.Context, d *daemon.Daemon, origins *demoOrigins, every time.Duration, w io.Writer) {
	if every <= 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	before := map[string]uint64{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			printSummary(d, origins, before, w)
		}
	}
}

func printSummary(d *daemon.Daemon, origins *demoOrigins, before map[string]uint64, w io.Writer) {
	for _, s := range d.Status().Services {
		var total uint64
		fresh := make([]uint64, len(s.Endpoints))
		for i, e := range s.Endpoints {
			key := s.Service + " " + e.ID
			fresh[i] = e.Counters.Attempts - before[key]
			before[key] = e.Counters.Attempts
			total += fresh[i]
		}
		if total == 0 {
			continue
		}
		fmt.Fprintf(w, "%s  %s: %s\n", time.Now().Format("15:04:05"), s.Service, count(total, "attempt"))
		for i, e := range s.Endpoints {
			fmt.Fprintf(w, "    %-22s %-8s %5.1f %%  latency %8s  failed %d  %s\n", e.Address, e.State,
				100*float64(fresh[i])/float64(total), time.Duration(e.LatencySeconds*1e9).Round(10*time.Microsecond),
				e.Counters.Failures(), origins.what(e.Address))
		}
	}
}
