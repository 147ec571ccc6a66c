package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

func tokenShowCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "print what a token says, and whether it is valid",
		ArgsUsage: "TOKEN",
		Description: `The content goes to standard output as JSON, the verdict to standard error; the
exit code is 1 for a token that is not valid. A single dash reads the token from
standard input.

  concertina token create --room r --identity me | concertina token show -`,
		Flags:  keyFlags(),
		Action: showToken,
	}
}

func showToken(_ context.Context, cmd *cli.Command) error {
	if cmd.Args().Len() != 1 {
		return usage(cmd, "expected one TOKEN, got %d", cmd.Args().Len())
	}
	token := cmd.Args().First()
	if token == "-" {
		data, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		token = strings.TrimSpace(string(data))
	}
	if err := printPayload(cmd.Root().Writer, token); err != nil {
		return err
	}
	keys, err := tokenKeys(cmd)
	if err != nil {
		return err
	}
	claims, err := keys.Verify(token, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.Root().ErrWriter, "valid until %s, signed by %q\n", claims.ExpiresAt.Format(time.RFC3339), claims.APIKey)
	return err
}

// printPayload writes the middle part of a JWT as indented JSON.
func printPayload(w io.Writer, token string) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("not a token: expected three parts separated by dots")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return errors.New("not a token: the middle part is not base64url")
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return errors.New("not a token: the middle part is not JSON")
	}
	b.WriteByte('\n')
	_, err = b.WriteTo(w)
	return err
}
