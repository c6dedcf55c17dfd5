package main

import (
	"context"
	"errors"
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
is 0 all the same. A second signal ends the process at once. SIGUSR1 opens the access log
anew, after its file has been moved away.`,
		Example: `  sidecar run --config /etc/sidecar/config.toml
  SIDECAR_SERVICE_ORDERS_LISTEN=127.0.0.1:7001 sidecar run`,
		Args: noArguments,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// Before anything is opened: a signal that comes meanwhile is not lost.
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		// Whoever reads the log may go away; by default the next line would end the process.
		signal.Ignore(syscall.SIGPIPE)
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		if empty(cfg) {
			return errNothing
		}
		return serve(ctx, stop, cfg, newLogger(cfg.Log, cmd.ErrOrStderr()))
	}
	return cmd
}

// errNothing is what is wrong with a configuration that is not wrong anywhere, but empty.
var errNothing = errors.New(`nothing to serve: the configuration has no [[service]]; the smallest useful file is

[[service]]
name   = "orders"
listen = "127.0.0.1:7001"`)

// serve runs a daemon until ctx ends. Then it gives the signals back to the system by
// stop, so that a second one ends the process.
func serve(ctx context.Context, stop func(), cfg *config.Config, log *zap.Logger) error {
	defer func() { _ = log.Sync() }() // standard error may be a pipe that cannot be synced
	d, err := daemon.New(cfg, daemon.Options{Version: version(), Revision: revision(), Log: log})
	if err != nil {
		return err
	}
	running := givingBack(ctx, stop)
	rotate := make(chan os.Signal, 1)
	signal.Notify(rotate, syscall.SIGUSR1)
	defer signal.Stop(rotate)
	go reopenLogs(ctx, d, rotate)
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

// reopenLogs opens the access log anew at each signal, until ctx ends.
func reopenLogs(ctx context.Context, d *daemon.Daemon, rotate <-chan os.Signal) {
	for {
		select {
		case <-rotate:
			d.ReopenAccessLog()
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
func newLogger(c config.Log, w io.Writer) *zap.Logger {
	level := zapcore.InfoLevel
	if err := level.Set(c.Level); err != nil {
		level = zapcore.InfoLevel // config has checked it
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if c.Format == "console" {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)
	return zap.New(zapcore.NewSamplerWithOptions(core, sampleTick, sampleFirst, sampleThereafter))
}
