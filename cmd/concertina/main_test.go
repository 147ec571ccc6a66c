package main

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	switch os.Getenv(beEnv) {
	case "concertina":
		os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
	case "stubborn":
		beStubborn()
	}
	testscript.Main(m, map[string]func(){
		"concertina": func() { os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr)) },
	})
}

// The command line is specified by the scripts in testdata.
// UPDATE_SCRIPTS=1 accepts new output into their golden sections.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireUniqueNames: true, RequireExplicitExec: true,
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}
