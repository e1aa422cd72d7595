// Command gateway lets the applications inside a company use the Belgian e-Box
// Enterprise federation and REST/grant/citizen as a plain local HTTP service.
//
// Run "gateway help" for the commands. Exit codes: 0 fine, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"ebox-gateway/internal/authn"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// process is what a command sees of the process that it runs in.
type process struct {
	ctx            context.Context
	stdin          *os.File
	stdout, stderr io.Writer
	lookup         func(string) (string, bool)
}

// command is one subcommand.
type command struct {
	name, usage, summary string
	// about is shown by help, below the summary.
	about string
	// run parses args with flags, which prints usage itself, and does the work.
	run func(p *process, flags *flag.FlagSet, args []string) error
}

// commands are all of them, in the order of help.
func commands() []command {
	return []command{
		serveCommand(), statusCommand(), demoCommand(), simulatorCommand(), checkCommand(), routesCommand(), tokenCommand(),
		enterprisesCommand(), cacheCommand(),
		maintenanceCommand(), auditCommand(), dataCommand(), schemaCommand(), healthcheckCommand(), asServiceCommand(),
		manCommand(), completionCommand(), versionCommand(),
	}
}

// usageError is a mistake in how the command was called.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// errReported is a failure of which everything was said already.
var errReported = errors.New("reported")

func main() {
	p := &process{ctx: context.Background(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, lookup: os.LookupEnv}
	os.Exit(run(p, os.Args[1:]))
}

func run(p *process, args []string) int {
	if len(args) == 0 {
		printHelp(p.stderr)
		return exitUsage
	}
	name := args[0]
	switch name {
	case "--version", "-version":
		return runCommand(p, "version", nil)
	case "help", "-h", "-help", "--help":
		if len(args) > 1 {
			return runCommand(p, args[1], []string{"-h"})
		}
		printHelp(p.stdout)
		return exitOK
	}
	return runCommand(p, name, args[1:])
}

func runCommand(p *process, name string, args []string) int {
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		flags := flag.NewFlagSet(name, flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		err := c.run(p, flags, args)
		var usage usageError
		switch {
		case err == nil:
			return exitOK
		case errors.Is(err, flag.ErrHelp):
			printCommand(p.stdout, c, flags)
			return exitOK
		case errors.As(err, &usage):
			fmt.Fprintf(p.stderr, "gateway %s: %s\n\nusage: gateway %s\n", c.name, usage.text, c.usage)
			return exitUsage
		case errors.Is(err, errReported):
			return exitFailed
		default:
			fmt.Fprintf(p.stderr, "gateway %s: %v\n", c.name, err)
			var refused *authn.RefusedError
			if errors.As(err, &refused) {
				fmt.Fprintln(p.stderr, refused.Problem().Detail) // where to look
			}
			return exitFailed
		}
	}
	fmt.Fprintf(p.stderr, "gateway: there is no command %q; run \"gateway help\" for those there are\n", name)
	return exitUsage
}

// parse reads flags wherever they stand among the arguments and returns the rest.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err.Error()}
		}
		args = flags.Args()
		if len(args) == 0 {
			return rest, nil
		}
		rest = append(rest, args[0])
		args = args[1:]
	}
}

// parseNone is parse for commands that take flags alone.
func parseNone(flags *flag.FlagSet, args []string) error {
	rest, err := parse(flags, args)
	if err == nil && len(rest) > 0 {
		hint := ""
		if flags.Lookup("config") != nil && strings.HasSuffix(rest[0], ".yaml") {
			hint = "; did you mean --config " + rest[0] + "?"
		}
		return usageError{fmt.Sprintf("unexpected argument %q%s", rest[0], hint)}
	}
	return err
}

func printHelp(w io.Writer) {
	fmt.Fprint(w, `The e-Box gateway: the e-Box Enterprise federation and grant/citizen as a plain local HTTP service.

usage: gateway <command> [flags]

`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-12s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
Run "gateway help <command>" for the flags of one. New here? Run "gateway demo".
Exit codes: 0 fine, 1 failed, 2 wrong usage.
`)
}

func printCommand(w io.Writer, c command, flags *flag.FlagSet) {
	fmt.Fprintf(w, "%s\n\nusage: gateway %s\n", c.summary, c.usage)
	if c.about != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.about))
	}
	any := false
	flags.VisitAll(func(*flag.Flag) { any = true })
	if any {
		fmt.Fprintln(w, "\nflags:")
		flags.SetOutput(w)
		flags.PrintDefaults()
	}
}

// counted says how many of something there are: "1 file", "2 files".
func counted[N int | uint64](n N, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
