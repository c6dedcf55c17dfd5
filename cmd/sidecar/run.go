package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sidecar/config"
	"sidecar/internal/daemon"
	"sidecar/internal/inherit"
	"sidecar/internal/spool"
)

// Sampling of log lines: see newLogger.
const (
	sampleTick       = time.Second
	sampleFirst      = 100
	sampleThereafter = 100
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve, until SIGTERM or SIGINT",
		Long: `Serves what the configuration says. SIGTERM or SIGINT stops accepting and lets what is
running end, for runtime.drain at most; then it is cut, the log says so, and the exit status
is 0 all the same. A second signal ends the process at once. SIGHUP loads the configuration
again and changes over to it without touching what stays the same; a mistake in it leaves
everything as it was. SIGUSR1 opens the access log anew, after its file has been moved away.

With --takeover a new process takes the listening sockets of the one that runs, which drains
and ends: no connection is refused. Both need the flag.`,
		Example: `  sidecar run --config /etc/sidecar/config.toml
  SIDECAR_SERVICE_ORDERS_LISTEN=127.0.0.1:7001 sidecar run`,
		Args: noArguments,
	}
	file := configFlag(cmd)
	takeover := cmd.Flags().String("takeover", "", "unix socket: take the listening sockets over from the sidecar that waits there, and wait there for the next")
	cmd.Flags().Lookup("takeover").NoOptDefVal = defaultTakeover
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// Before anything is opened: a signal that comes meanwhile is not lost.
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, syscall.SIGUSR1, syscall.SIGHUP)
		defer signal.Stop(signals)
		// Whoever reads the log may go away; by default the next line would end the process.
		signal.Ignore(syscall.SIGPIPE)
		cfg, values, err := config.LoadWithOrigins(*file, os.Environ())
		if err != nil {
			return err
		}
		if empty(cfg) {
			return errNothing
		}
		o, err := inherited(ctx, *takeover)
		if err != nil {
			return err
		}
		o.File, o.Takeover = *file, *takeover
		o.Values = values
		o.Load = func() (*config.Config, []config.Value, error) { return loadAgain(*file) }
		o.Parse = func(text []byte) (*config.Config, error) {
			return config.Parse("the given configuration", text, os.Environ())
		}
		return serve(ctx, stop, signals, cfg, o, cmd.ErrOrStderr())
	}
	return cmd
}

// defaultTakeover is where sidecars of a host hand over to each other, unless told otherwise.
const defaultTakeover = "/run/sidecar/takeover.sock"

// inherited takes the sockets that systemd, or the sidecar before, hands to this process.
func inherited(ctx context.Context, takeover string) (o daemon.Options, err error) {
	if o.Inherited, err = inherit.FromSystemd(); err != nil || takeover == "" {
		return o, err
	}
	sockets, handover, err := inherit.TakeOver(ctx, takeover)
	switch {
	case errors.Is(err, inherit.ErrNobody):
		return o, nil
	case err != nil:
		return o, fmt.Errorf("take over from the sidecar that runs: %w", err)
	}
	o.Inherited, o.Handover = sockets, handover
	return o, nil
}

// loadAgain is loadConfig for a reload: one that asks for nothing is a mistake.
func loadAgain(file string) (*config.Config, []config.Value, error) {
	cfg, values, err := config.LoadWithOrigins(file, os.Environ())
	if err == nil && empty(cfg) {
		err = errNothing
	}
	return cfg, values, err
}

// errNothing is what is wrong with a configuration that is not wrong anywhere, but empty.
var errNothing = errors.New(`nothing to serve: the configuration has no [[service]]; the smallest useful file is

[[service]]
name   = "orders"
listen = "127.0.0.1:7001"`)

// serve runs a daemon until ctx ends. Then it gives the signals back to the system by
// stop, so that a second one ends the process. Signals are those that heed knows.
func serve(ctx context.Context, stop func(), signals <-chan os.Signal, cfg *config.Config, o daemon.Options, w io.Writer) error {
	level := zap.NewAtomicLevelAt(levelOf(cfg.Log))
	out := spool.New(w, spool.Options{Missing: missingLines(cfg.Log)})
	defer func() { _ = out.Close() }() // who does not read in time goes without the last lines
	o.Log, o.LostLines = newLeveledLogger(cfg.Log, level, out), out.Lost
	o.Version, o.Revision = version(), revision()
	o.Stopping = stop // also where it was no signal that ended it: the next one is the system's
	o.Applied = func(cfg *config.Config) { level.SetLevel(levelOf(cfg.Log)) }
	daemon.LimitMemory(o.Log)
	d, err := daemon.New(cfg, o)
	if err != nil {
		if o.Handover != nil {
			o.Handover.Abort()
		}
		return err
	}
	running := givingBack(ctx, stop)
	go heed(ctx, d, signals)
	return runDaemon(running, d)
}

// givingBack is a context that ends behind ctx, when stop has returned: the next signal is the
// system's before anything else happens.
func givingBack(ctx context.Context, stop func()) context.Context {
	after, cancel := context.WithCancel(context.Background())
	context.AfterFunc(ctx, func() {
		stop()
		cancel()
	})
	return after
}

// heed does what signals ask for, until ctx ends: SIGUSR1 opens the access log anew, SIGHUP reloads.
func heed(ctx context.Context, d *daemon.Daemon, signals <-chan os.Signal) {
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGUSR1 {
				d.ReopenAccessLog()
				continue
			}
			_, _ = d.Reload(ctx) // which says what comes of it
		case <-ctx.Done():
			return
		}
	}
}

// runDaemon runs d until ctx ends. That something had to be cut at the end is no failure: how
// long a stop waits is for the configuration to say, and with sessions that last for hours it
// happens at each stop, as it does with HAProxy and nginx. The log has said so.
func runDaemon(ctx context.Context, d *daemon.Daemon) error {
	if err := d.Run(ctx); !errors.Is(err, daemon.ErrCut) {
		return err
	}
	return nil
}

// loadConfig loads the configuration of this process.
func loadConfig(file string) (*config.Config, error) { return config.Load(file, os.Environ()) }

// newLogger writes to w in the configured form. Of lines that are alike it writes the first
// hundred of each second and then every hundredth: a registry that is gone or an endpoint
// that fails must not turn the log into load.
func newLogger(c config.Log, w io.Writer) *zap.Logger { return newLeveledLogger(c, levelOf(c), w) }

// levelOf is the least severe level that is written.
func levelOf(c config.Log) zapcore.Level {
	level := zapcore.InfoLevel
	if err := level.Set(c.Level); err != nil {
		level = zapcore.InfoLevel // config has checked it
	}
	return level
}

// newLeveledLogger is newLogger with a level that may change.
func newLeveledLogger(c config.Log, level zapcore.LevelEnabler, w io.Writer) *zap.Logger {
	core := zapcore.NewCore(newEncoder(c), zapcore.Lock(zapcore.AddSync(w)), level)
	sampled := zapcore.NewSamplerWithOptions(stampedCore{core}, sampleTick, sampleFirst, sampleThereafter)
	return zap.New(sampled, zap.WithClock(steadyClock{time.Now()}))
}

// missingLines makes the line that stands where others could not be written.
func missingLines(c config.Log) func(n uint64) []byte {
	encoder := newEncoder(c)
	return func(n uint64) []byte {
		entry := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(),
			Message: "lines of this log are missing here: nobody read it, or its disk was too slow"}
		text, err := encoder.EncodeEntry(entry, []zapcore.Field{zap.Uint64("lines", n)})
		if err != nil {
			return nil
		}
		defer text.Free()
		return bytes.Clone(text.Bytes())
	}
}

func newEncoder(c config.Log) zapcore.Encoder {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	if c.Format == "console" {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		return zapcore.NewConsoleEncoder(encoding)
	}
	return zapcore.NewJSONEncoder(encoding)
}
