package main

import (
	"context"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/concertina-rtc/concertina/internal/server"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run a server with your configuration",
		Description: `Ctrl-C or SIGTERM stops it gracefully; a second one at once.

  concertina serve --config concertina.yaml
  CONCERTINA_KEYS="mykey: a-secret-of-at-least-32-characters" concertina serve

A minimal file:

  keys:
    mykey: a-secret-of-at-least-32-characters
  rtc:
    use_external_ip: true`,
		Flags: []cli.Flag{configFlag()},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return usage(cmd, "unexpected argument %q", cmd.Args().First())
			}
			cfg, err := server.LoadConfig(cmd.String("config"), os.Environ())
			if err != nil {
				return err
			}
			return runServer(ctx, cmd, cfg, false)
		},
	}
}

// configFlag is --config, which CONCERTINA_CONFIG sets too.
func configFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE`",
		Sources: cli.EnvVars(server.EnvConfigFile), TakesFile: true,
	}
}
