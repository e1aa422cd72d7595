// Command gateway lets the applications inside a company use the Belgian e-Box
// Enterprise federation and REST/grant/citizen as a plain local HTTP service.
//
// Run "gateway help" for the commands. Exit codes: 0 fine, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/progress"
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
	// patience is how long a gateway that runs may take to answer a command.
	patience time.Duration
}

// usageError is a mistake in how the command was called.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// errReported is a failure of which everything was said already.
var errReported = errors.New("reported")

func main() {
	p := &process{ctx: context.Background(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, lookup: os.LookupEnv,
		patience: 10 * time.Second}
	os.Exit(run(p, os.Args[1:]))
}

// rootCommand has all the others below it. Help, manual pages and completions are made of
// what they declare.
func rootCommand(p *process) *cobra.Command {
	root := &cobra.Command{
		Use:   "gateway",
		Short: "the e-Box gateway: the e-Box Enterprise federation and grant/citizen as a plain local HTTP service",
		Long: `New here? Run "gateway demo".

` + configVariable + ` in the environment names the configuration, if no --config does.
Exit codes: 0 fine, 1 failed, 2 wrong usage.`,
		Version: version() + builtBy(), SilenceErrors: true, SilenceUsage: true, DisableAutoGenTag: true,
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		text := c.Short + "\n\n"
		if c.Long != "" {
			text += c.Long + "\n\n"
		}
		fmt.Fprint(c.OutOrStdout(), text+c.UsageString())
	})
	cobra.EnableCommandSorting = false // the most used come first
	root.AddCommand(serveCommand(p), statusCommand(p), demoCommand(p), simulatorCommand(p), checkCommand(p),
		routesCommand(p), tokenCommand(p), enterprisesCommand(p), cacheCommand(p), maintenanceCommand(p), auditCommand(p),
		dataCommand(p), schemaCommand(p), healthcheckCommand(p), asServiceCommand(), manCommand(p), versionCommand(p))
	return root
}

func run(p *process, args []string) int {
	root := rootCommand(p)
	if len(args) == 0 {
		root.SetOut(p.stderr)
		_ = root.Help() // prints alone
		return exitUsage
	}
	began := false // once a command has begun, its errors are none of usage
	each(root, func(c *cobra.Command) {
		if c.Args == nil && c.HasParent() && c.Use == c.Name() {
			c.Args = noArguments
		}
		if work := c.RunE; work != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				began = true
				return work(c, args)
			}
		}
	})
	root.SetArgs(args)
	c, err := root.ExecuteContextC(p.ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailed
	case !began || errors.As(err, &usage):
		fmt.Fprintf(p.stderr, "%s: %v\n\nusage: %s\n%q shows what there is\n", c.CommandPath(), err, c.UseLine(),
			c.CommandPath()+" --help")
		return exitUsage
	}
	fmt.Fprintf(p.stderr, "%s: %v\n", c.CommandPath(), err)
	if refused := authn.Refusal(err); refused != nil {
		fmt.Fprintln(p.stderr, refused.Problem().Detail) // where to look
	}
	return exitFailed
}

// each calls f with a command and all below it.
func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, below := range c.Commands() {
		each(below, f)
	}
}

// group is a command that does nothing without the word of one below it.
func group(name, short string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short}
	c.AddCommand(below...)
	c.RunE = func(*cobra.Command, []string) error {
		var words []string
		for _, b := range below {
			words = append(words, b.Name())
		}
		return usageError{"say what to do: " + strings.Join(words, ", ")}
	}
	return c
}

// noArguments is for commands that take flags alone: all whose usage names no argument.
func noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.HasAvailableSubCommands():
		return usageError{fmt.Sprintf("there is no command %q", args[0])}
	case c.Flags().Lookup("config") != nil && strings.HasSuffix(args[0], ".yaml"):
		return usageError{fmt.Sprintf("unexpected argument %q; did you mean --config %[1]s?", args[0])}
	}
	return usageError{fmt.Sprintf("unexpected argument %q", args[0])}
}

// newTable lines up cells with tabs between them; two blanks are left between columns.
func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// counted says how many of something there are: "1 file", "2 files".
func counted[N int | uint64](n N, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// newJSON writes JSON for programs and terminals, which read no HTML.
func newJSON(w io.Writer) *json.Encoder {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out
}

// newProgress shows the person who waits how much of a long work is done.
func (p *process) newProgress(what string, total int64, amount func(int64) string) *progress.Reporter {
	return progress.New(progress.Options{
		W: p.stderr, Terminal: progress.IsTerminal(p.stderr), What: what, Total: total, Amount: amount,
	})
}

// untilSignal is the time until the process is told to end.
func (p *process) untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(p.ctx, syscall.SIGINT, syscall.SIGTERM)
}
