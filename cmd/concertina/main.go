// Command concertina is the whole platform: the server, its command line, and
// the tools around them.
//
// Each command is in the file of its name. They turn flags into a
// configuration and call a package; behaviour lives there. Start reading at
// rootCommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}

// run is main with everything passed in. It returns the exit code: 0 for
// success, 1 for failure, 2 for a command line that makes no sense.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	err := rootCommand(out, errOut).Run(ctx, args)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(errOut, "concertina: %v\nRun '%s --help'.\n", err, usage.command)
		return 2
	default:
		fmt.Fprintf(errOut, "%v\n", err)
		return 1
	}
}

// usageError is a mistake on the command line.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(cmd *cli.Command, format string, args ...any) error {
	return &usageError{cmd.FullName(), fmt.Errorf(format, args...)}
}

func rootCommand(out, errOut io.Writer) *cli.Command {
	root := &cli.Command{
		Name:  "concertina",
		Usage: "elastic real-time video for any LiveKit client",
		Description: `Try it on this machine:
  concertina dev                                  a server with development keys
  concertina token create --room r --identity me  a token to join with

Run it for others:
  concertina config check concertina.yaml         find every mistake before it matters
  concertina serve --config concertina.yaml       the same server, your keys

Every configuration key has an environment variable, for example
CONCERTINA_RTC_UDP_PORT for rtc.udp_port: see docs/reference/config.md.`,
		Writer:                    out,
		ErrWriter:                 errOut,
		EnableShellCompletion:     true,
		DisableSliceFlagSeparator: true,                                          // values may hold commas
		ExitErrHandler:            func(context.Context, *cli.Command, error) {}, // run prints
		Commands: []*cli.Command{
			devCommand(),
			serveCommand(),
			simulateCommand(),
			tokenCommand(),
			configCommand(),
			versionCommand(),
		},
	}
	finish(root)
	return root
}

// finish gives every command the same manners: a mistake is one line and a
// pointer to the help, not a page of it.
func finish(cmd *cli.Command) {
	cmd.HideHelpCommand = true
	cmd.OnUsageError = func(_ context.Context, c *cli.Command, err error, _ bool) error {
		return &usageError{c.FullName(), err}
	}
	if cmd.Action == nil && len(cmd.Commands) > 0 {
		cmd.Action = func(_ context.Context, c *cli.Command) error {
			if name := c.Args().First(); name != "" {
				return usage(c, "unknown command %q%s", name, suggest(c, name))
			}
			if c == c.Root() {
				return cli.ShowRootCommandHelp(c)
			}
			return cli.ShowSubcommandHelp(c)
		}
	}
	for _, sub := range cmd.Commands {
		finish(sub)
	}
}

func suggest(c *cli.Command, name string) string {
	if near := cli.SuggestCommand(c.Commands, name); near != "" && near != "help" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
