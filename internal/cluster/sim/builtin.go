package sim

import (
	"embed"
	"fmt"
	"path"
	"strings"

	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

//go:embed scenarios/*.txt
var scenarios embed.FS

// Builtins lists the scenarios that come with the program, by name, each with
// its first comment line.
func Builtins() []Builtin {
	entries, err := scenarios.ReadDir("scenarios")
	if err != nil {
		return nil
	}
	var out []Builtin
	for _, e := range entries {
		text, err := scenarios.ReadFile(path.Join("scenarios", e.Name()))
		if err != nil {
			continue
		}
		out = append(out, Builtin{strings.TrimSuffix(e.Name(), ".txt"), titleOf(string(text)), string(text)})
	}
	return out
}

// Builtin is a scenario that comes with the program.
type Builtin struct {
	Name, Title, Text string
}

// BuiltinText returns the scenario of this name.
func BuiltinText(name string) (string, error) {
	for _, b := range Builtins() {
		if b.Name == name {
			return b.Text, nil
		}
	}
	return "", fmt.Errorf("there is no built-in scenario %q", name)
}

// titleOf is the name that a scenario gives itself.
func titleOf(text string) string {
	commands, err := script.Parse("", text)
	if err != nil {
		return ""
	}
	for _, c := range commands {
		if c.Name == "name" && len(c.Args) == 1 {
			return c.Args[0]
		}
	}
	return ""
}
