package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/operate/mandates"
	"ebox-gateway/internal/progress"
)

func enterprisesCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "check FILE", Short: "ask each provider for each enterprise of a file whether its mandate can be used",
		Long: `FILE is CSV or YAML as in tenancy.enterpriseFiles, or plain numbers, one a line. Its
enterprises need not be in the configuration yet.

Each provider is asked for the list of messages, one entry of it, which is not read
and marks nothing read; it may show as the last consultation of the e-Box. The
calls take the way that batch callers take: with the client's key, within the rates,
and leaving a third of every upstream to the others. No running gateway is needed.

The result of each is usable, refused (with the provider's status and problem) or
not tested (with the reason). Results go to standard output as they come, all else
to standard error. An interrupted check (Ctrl-C) says so in its last row; give its
results with --resume, and write to another file, and what was usable or refused is
taken over instead of asked again. The exit code is 0 only if all were usable.`,
		Args: cobra.ExactArgs(1),
	}
	flags := c.Flags()
	path := configFlag(flags)
	providers := flags.String("providers", "", "ask these `ids` alone, with commas between (default: "+
		"all that can be called)")
	perSecond := flags.Float64("rate", 5, "calls a second, to all providers together")
	limit := flags.Int("limit", 0, "ask for this `number` of enterprises and stop (default: all)")
	dmfa := flags.Bool("dmfa", false, "ask grant/citizen for its list of citizen mandates too; the answer stays unread")
	resume := flags.String("resume", "", "take over what is usable or refused in this `file` of results")
	asCSV := flags.Bool("csv", false, "print CSV")
	asJSON := flags.Bool("json", false, "print a JSON object a line")
	yes := flags.Bool("yes", false, "do not ask before the first call")
	c.MarkFlagsMutuallyExclusive("csv", "json")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if *perSecond <= 0 || *limit < 0 {
			return usageError{"--rate has to be above 0, and --limit at least 0, which is for all"}
		}
		cfg, g, err := buildGateway(p, *path)
		if err != nil {
			return err
		}
		list, err := cfg.EnterprisesIn(args[0])
		if err != nil {
			return err
		}
		ctx, stop := p.untilSignal()
		defer stop()
		check, err := mandates.New(ctx, g.View(), idList(*providers), *dmfa)
		if err != nil {
			return err
		}
		check.PerSecond = *perSecond

		out := mandates.NewReport(p.stdout, *asCSV, *asJSON)
		earlier := make(mandates.Answered)
		if *resume != "" {
			if err := earlier.TakeOver(*resume, list, out); err != nil {
				return err
			}
		}
		open := check.Open(list, earlier, *limit)
		for _, u := range check.Untested {
			fmt.Fprintf(p.stderr, "not tested: %s: %s\n", mandates.At(u.Mandate, u.Provider), u.Reason)
		}
		if check.Upstreams() == 0 {
			return errors.New("no upstream can be asked")
		}
		if err := confirm(p, len(open), check, *yes); err != nil {
			return err
		}
		return runEnterpriseCheck(ctx, p, check, open, earlier, out)
	}
	return group("enterprises", "ask whether the mandates of enterprises can be used", c)
}

// runEnterpriseCheck asks, reports as it goes, and words the end.
func runEnterpriseCheck(ctx context.Context, p *process, check *mandates.Check, list []config.Enterprise,
	earlier mandates.Answered, out *mandates.Report,
) error {
	done := 0
	shown := p.newProgress("asking", int64(len(list)), nil)
	defer shown.Clear()
	err := check.Run(ctx, list, earlier, func(findings []mandates.Finding) error {
		done++
		shown.Clear()
		defer shown.Add(1)
		for _, f := range findings {
			if err := out.Write(f); err != nil {
				return err
			}
		}
		return nil
	})
	shown.Clear()
	interrupted := errors.Is(err, context.Canceled)
	asked := fmt.Sprintf("interrupted: %d of %d enterprises were asked for", done, len(list))
	if interrupted {
		err = out.Incomplete(asked)
	}
	if err != nil {
		return err
	}
	for _, line := range out.Summary() {
		fmt.Fprintln(p.stderr, line)
	}
	if interrupted {
		fmt.Fprintf(p.stderr, "%s; give these results with --resume to go on\n", asked)
	}
	if interrupted || !out.AllUsable() {
		return errReported
	}
	return nil
}

// idList takes a list with commas apart.
func idList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// confirm says what is about to happen, and waits for a yes if a person is there.
func confirm(p *process, enterprises int, check *mandates.Check, yes bool) error {
	calls := enterprises * check.Upstreams()
	lasts := time.Duration(math.Ceil(float64(calls)/check.PerSecond)) * time.Second
	fmt.Fprintf(p.stderr, "%s at %s: up to %s at %g a second, about %s.\nNothing is opened or marked read; a provider "+
		"may show a call as the last consultation of the e-Box.\n",
		counted(enterprises, "enterprise"), counted(check.Upstreams(), "upstream"), counted(calls, "call"),
		check.PerSecond, lasts)
	if yes || calls == 0 {
		return nil
	}
	if !progress.IsTerminal(p.stdin) {
		return usageError{"nobody is at the terminal to agree: give --yes"}
	}
	fmt.Fprint(p.stderr, "Go on? [y/N] ")
	answer, err := bufio.NewReader(p.stdin).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		return errors.New("not agreed to; nothing was asked")
	}
	return nil
}
