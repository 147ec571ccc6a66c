package main

import (
	"context"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/concertina-rtc/concertina/internal/server"
)

func devCommand() *cli.Command {
	def := server.DefaultDev()
	return &cli.Command{
		Name:  "dev",
		Usage: "run a development server on this machine",
		Description: `It needs no file and no other service. The API key is devkey, its secret
"secret": everyone knows them, so it listens on loopback unless told otherwise.

  concertina dev
  concertina dev --port 8880 --rtc-udp-port 8882 --rtc-tcp-port 8881
  concertina dev --bind 0.0.0.0 --node-ip 192.168.1.20   phones in your network`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "port", Value: def.Port, Usage: "HTTP and WebSocket `PORT`; 0 picks one"},
			&cli.StringSliceFlag{Name: "bind", Value: def.BindAddresses, Usage: "listen on `ADDRESS`; may be repeated"},
			&cli.StringFlag{Name: "node-ip", Usage: "`ADDRESS` that clients send media to", DefaultText: "the addresses of this machine"},
			&cli.IntFlag{Name: "rtc-udp-port", Value: def.RTC.UDPPort, Usage: "media `PORT`; 0 picks one"},
			&cli.IntFlag{Name: "rtc-tcp-port", Value: def.RTC.TCPPort, Usage: "media over TCP `PORT`; 0 is off"},
			&cli.StringFlag{Name: "log-level", Value: def.Logging.Level, Usage: "`LEVEL` debug, info, warn or error"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return usage(cmd, "unexpected argument %q", cmd.Args().First())
			}
			cfg, err := devConfig(cmd)
			if err != nil {
				return err
			}
			return runServer(ctx, cmd, cfg, true)
		},
	}
}

// devConfig applies the flags over the environment over the defaults.
func devConfig(cmd *cli.Command) (server.Config, error) {
	cfg, err := server.LoadDevConfig(os.Environ())
	if err != nil {
		return server.Config{}, err
	}
	if cmd.IsSet("port") {
		cfg.Port = cmd.Int("port")
	}
	if cmd.IsSet("bind") {
		cfg.BindAddresses = cmd.StringSlice("bind")
	}
	if cmd.IsSet("node-ip") {
		cfg.RTC.NodeIP = cmd.String("node-ip")
	}
	if cmd.IsSet("rtc-udp-port") {
		cfg.RTC.UDPPort = cmd.Int("rtc-udp-port")
	}
	if cmd.IsSet("rtc-tcp-port") {
		cfg.RTC.TCPPort = cmd.Int("rtc-tcp-port")
	}
	if cmd.IsSet("log-level") {
		cfg.Logging.Level = cmd.String("log-level")
	}
	return cfg, cfg.Validate()
}
