package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/concertina-rtc/concertina/internal/config"
	"github.com/concertina-rtc/concertina/internal/server"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "work with configuration files",
		Commands: []*cli.Command{{
			Name:      "check",
			Usage:     "report every mistake in a configuration file",
			ArgsUsage: "FILE",
			Description: `Prints nothing but the verdict when all is well. Otherwise each mistake is a
line with file, line, column, key, value and what was expected, and the exit
code is 1. CONCERTINA_ variables count, as they do for serve.

  concertina config check concertina.yaml
  concertina config check --show concertina.yaml   the result, secrets hidden`,
			Flags: []cli.Flag{
				&cli.BoolFlag{Name: "show", Usage: "print the resulting configuration with all defaults"},
			},
			Action: checkConfig,
		}},
	}
}

func checkConfig(_ context.Context, cmd *cli.Command) error {
	if cmd.Args().Len() != 1 {
		return usage(cmd, "expected one FILE, got %d", cmd.Args().Len())
	}
	file, root := cmd.Args().First(), cmd.Root()
	cfg, err := server.LoadConfig(file, os.Environ())
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings() {
		fmt.Fprintf(root.ErrWriter, "%s: warning: %s\n", file, w)
	}
	if cmd.Bool("show") {
		return config.Dump(root.Writer, &cfg)
	}
	_, err = fmt.Fprintf(root.Writer, "%s: ok\n", file)
	return err
}
