package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/server"
)

func tokenCommand() *cli.Command {
	return &cli.Command{
		Name:     "token",
		Usage:    "create and read access tokens",
		Commands: []*cli.Command{tokenCreateCommand(), tokenShowCommand()},
	}
}

func tokenCreateCommand() *cli.Command {
	return &cli.Command{
		Name:  "create",
		Usage: "print a token that lets its holder join a room or use the server API",
		Description: `To join (--identity grants roomJoin):
  concertina token create --room hello --identity alice --name "Alice A."
  concertina token create --room hello --identity bob --grant canPublish=false
  concertina token create --identity eve --grant canPublishSources=camera+microphone

For the server API:
  concertina token create --grant roomCreate --grant roomList
  concertina token create --room hello --grant roomAdmin --ttl 10m

The key is that of --api-key and --api-secret, else of the configuration
(--config or CONCERTINA_KEYS), else the development key.`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "room", Aliases: []string{"r"}, Usage: "`NAME` of the only room the token is for; any room without"},
			&cli.StringFlag{Name: "identity", Aliases: []string{"i"}, Usage: "`ID` of the participant, unique in the room"},
			&cli.StringFlag{Name: "name", Usage: "display `NAME`"},
			&cli.StringFlag{Name: "metadata", Usage: "`TEXT` for the applications of the others"},
			&cli.StringSliceFlag{Name: "attribute", Usage: "`KEY=VALUE` of the participant; may be repeated"},
			&cli.StringSliceFlag{Name: "grant", Usage: "`GRANT` or GRANT=VALUE, for example hidden or canPublish=false; may be repeated"},
			&cli.DurationFlag{Name: "ttl", Value: auth.DefaultTTL, Usage: "how long the token is valid, a `DURATION` such as 10m or 24h"},
		}, keyFlags()...),
		Action: createToken,
	}
}

// keyFlags choose the API key that signs or verifies.
func keyFlags() []cli.Flag {
	return []cli.Flag{
		configFlag(),
		&cli.StringFlag{Name: "api-key", Usage: "API `KEY`", Sources: cli.EnvVars("LIVEKIT_API_KEY")},
		&cli.StringFlag{Name: "api-secret", Usage: "`SECRET` of the API key; better in the environment", Sources: cli.EnvVars("LIVEKIT_API_SECRET")},
	}
}

func createToken(_ context.Context, cmd *cli.Command) error {
	if cmd.Args().Present() {
		return usage(cmd, "unexpected argument %q", cmd.Args().First())
	}
	claims, err := tokenClaims(cmd)
	if err != nil {
		return err
	}
	keys, err := tokenKeys(cmd)
	if err != nil {
		return err
	}
	key := cmd.String("api-key")
	if key == "" {
		key, _ = keys.First()
	}
	secret := keys.GetSecret(key)
	if secret == "" {
		return fmt.Errorf("API key %q is not in the configuration", key)
	}
	token, err := auth.Sign(key, secret, claims, cmd.Duration("ttl"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.Root().Writer, token)
	return err
}

func tokenClaims(cmd *cli.Command) (auth.Claims, error) {
	video := &auth.VideoGrant{Room: cmd.String("room"), RoomJoin: cmd.String("identity") != ""}
	for _, g := range cmd.StringSlice("grant") {
		if err := applyGrant(video, g); err != nil {
			return auth.Claims{}, usage(cmd, "%w", err)
		}
	}
	claims := auth.Claims{
		Identity: cmd.String("identity"), Name: cmd.String("name"), Metadata: cmd.String("metadata"), Video: video,
	}
	for _, kv := range cmd.StringSlice("attribute") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return auth.Claims{}, usage(cmd, "--attribute: expected KEY=VALUE, got %q", kv)
		}
		if claims.Attributes == nil {
			claims.Attributes = map[string]string{}
		}
		claims.Attributes[k] = v
	}
	switch {
	case video.RoomJoin && claims.Identity == "":
		return auth.Claims{}, usage(cmd, "--grant roomJoin needs --identity")
	case claims.Identity == "" && len(cmd.StringSlice("grant")) == 0:
		return auth.Claims{}, usage(cmd, "the token would grant nothing: give --identity to join, or --grant")
	case cmd.Duration("ttl") < time.Second:
		return auth.Claims{}, usage(cmd, "--ttl: expected at least 1s, got %v", cmd.Duration("ttl"))
	}
	return claims, nil
}

// tokenKeys returns the keys to sign and verify with.
func tokenKeys(cmd *cli.Command) (*auth.Keys, error) {
	key, secret := cmd.String("api-key"), cmd.String("api-secret")
	if secret != "" {
		if key == "" {
			return nil, usage(cmd, "--api-secret needs --api-key")
		}
		return auth.NewKeys(map[string]string{key: secret})
	}
	if cmd.String("config") != "" || os.Getenv(server.EnvPrefix+"KEYS") != "" || os.Getenv(server.EnvPrefix+"KEY_FILE") != "" {
		cfg, err := server.LoadConfig(cmd.String("config"), os.Environ())
		if err != nil {
			return nil, err
		}
		return auth.NewKeys(cfg.Keys)
	}
	fmt.Fprintf(cmd.Root().ErrWriter, "using the development key %q\n", auth.DevKey)
	return auth.NewKeys(map[string]string{auth.DevKey: auth.DevSecret})
}
