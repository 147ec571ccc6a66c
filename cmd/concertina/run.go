package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/concertina-rtc/concertina/internal/server"
)

// runServer runs a server until it fails or a signal ends it.
func runServer(ctx context.Context, cmd *cli.Command, cfg server.Config, dev bool) error {
	root := cmd.Root()
	ctx, stop := untilSignal(ctx, root.ErrWriter)
	defer stop()
	return server.Run(ctx, cfg, server.Options{Out: root.Writer, Version: version(), Dev: dev})
}

// untilSignal returns a context that SIGINT or SIGTERM ends. A second signal
// ends the process with exit code 1: whoever sends it has waited long enough.
func untilSignal(parent context.Context, errOut io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case sig := <-signals:
				if n > 0 {
					os.Exit(1)
				}
				fmt.Fprintf(errOut, "\n%v: stopping; once more to stop at once\n", sig)
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
