package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/operate/found"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/progress"
)

// searchFlags are those that say which records are sought. The function that it gives reads
// them once they are parsed.
func searchFlags(flags *pflag.FlagSet) func() (audit.Query, error) {
	var q audit.Query
	flags.StringVar(&q.Message, "message", "", "the `id` of a message, also of one that a write created")
	flags.StringVar(&q.Attachment, "attachment", "", "the `id` of an attachment")
	of := flags.String("enterprise", "", "the CBE `number` of the represented enterprise, or of any that "+
		"a request named; or own")
	flags.StringVar(&q.Caller, "caller", "", "the `name` of the caller's rule")
	flags.StringVar(&q.Actor, "actor", "", "the `name` that the caller asserted in X-Actor")
	flags.StringVar(&q.Purpose, "purpose", "", "the `text` that the caller gave in X-Purpose")
	flags.StringVar(&q.Provider, "provider", "", "the `id` of the Document Provider")
	flags.StringVar(&q.RequestID, "request-id", "", "the X-Request-Id that the caller got")
	from := flags.String("from", "", "the first `day`, in Brussels (for a bundle in UTC), or an instant (RFC 3339)")
	to := flags.String("to", "", "the last `day`, inclusive, or an instant")
	flags.BoolVar(&q.Events, "events", false, "show refusals, configurations, purges, switches, keys, "+
		"starts and gaps as well")
	return func() (audit.Query, error) { return q, bounds(&q, *of, *from, *to) }
}

func auditSearch(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "search [DIR …]",
		Short: "who, when, for whom: by message, attachment, enterprise, caller, actor, purpose, provider, " +
			"request and time",
	}
	flags := c.Flags()
	file := configFlag(flags)
	query := searchFlags(flags)
	asJSON := flags.Bool("json", false, "print one JSON object a line, with everything that was recorded")
	c.RunE = func(_ *cobra.Command, rest []string) error {
		q, err := query()
		if err != nil {
			return err
		}
		if *asJSON {
			return searchAll(p, *file, rest, q, jsonWriter{newJSON(p.stdout)})
		}
		return searchAll(p, *file, rest, q, &tableWriter{table: newTable(p.stdout)})
	}
	return c
}

// searchAll goes over the chains and has each thing that is found written.
func searchAll(p *process, file string, dirs []string, q audit.Query, out foundWriter) error {
	chains, _, err := auditChains(p, file, dirs)
	if err != nil {
		return err
	}
	n := 0
	var sum audit.Searched
	shown := p.newProgress("searching", audit.Size(chains), progress.Bytes)
	defer shown.Clear()
	q.Read = shown.Add
	write := func(f *audit.Found) error {
		shown.Clear()
		n++
		return out.Write(f)
	}
	for _, chain := range chains {
		s, err := audit.Search(chain, q, write)
		if err != nil {
			shown.Clear()
			_ = out.Flush() // what was found before the error is shown
			return err
		}
		sum.Segments += s.Segments
		sum.Skipped += s.Skipped
		sum.Records += s.Records
		sum.Findings = append(sum.Findings, s.Findings...)
	}
	shown.Clear()
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%d found in %s of %s; %s of other days not read\n", n, counted(sum.Records, "record"),
		counted(sum.Segments, "file"), counted(sum.Skipped, "file"))
	for _, f := range sum.Findings {
		fmt.Fprintf(p.stderr, "DOES NOT VERIFY: %s\n", f)
	}
	if len(sum.Findings) > 0 {
		fmt.Fprintln(p.stderr, "run gateway audit verify for the whole of it")
		return errReported
	}
	return nil
}

// bounds reads what has more than one written form.
func bounds(q *audit.Query, of, from, to string) error {
	if q.Enterprise = of; of != "" && of != "own" {
		number, err := enterprise.Parse(of)
		if err != nil {
			return usageError{fmt.Sprintf("--enterprise %q: %v", of, err)}
		}
		q.Enterprise = number.String()
	}
	for _, b := range []struct {
		name, text string
		to         *time.Time
		end        bool
	}{{"--from", from, &q.From, false}, {"--to", to, &q.To, true}} {
		if b.text == "" {
			continue
		}
		var err error
		if *b.to, err = audit.ParseTime(b.text, b.end); err != nil {
			return usageError{fmt.Sprintf("%s %q %v", b.name, b.text, err)}
		}
	}
	return nil
}

// foundWriter prints what a search finds, as it finds it.
type foundWriter interface {
	Write(f *audit.Found) error
	Flush() error
}

type jsonWriter struct{ *json.Encoder }

func (j jsonWriter) Write(r *audit.Found) error {
	return j.Encode(struct {
		*audit.Found
		Details map[string]json.RawMessage `json:"details,omitempty"`
	}{r, found.Particulars(r)})
}

func (jsonWriter) Flush() error { return nil }

type tableWriter struct {
	n     int
	table *tabwriter.Writer
}

// tableBlock is how many rows are lined up with one another; a search may find more
// than fit in memory.
const tableBlock = 500

func (f *tableWriter) Write(r *audit.Found) error {
	f.n++
	if f.n%tableBlock == 1 {
		if err := f.table.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(f.table, "TIME\tWHO\tFROM\tFOR\tDID\tWHAT\tRESULT\tANSWERED BY\tREQUEST\tTRACE\tRECORD")
	}
	who := r.Caller
	if r.Actor != "" {
		who += " (" + r.Actor + ")"
	}
	if r.Purpose != "" {
		who += ": " + r.Purpose
	}
	did := strings.TrimSpace(r.Method + " " + r.Action)
	if r.Method == "" {
		did = string(r.Kind)
	}
	what := r.URL
	if len(r.Messages) > 0 && !strings.Contains(what, r.Messages[0]) {
		what += " messages " + strings.Join(r.Messages, ",")
	}
	if r.MoreMessages {
		what += " and more"
	}
	if len(r.Created) > 0 {
		what += " created " + strings.Join(r.Created, ",")
	}
	what = strings.TrimSpace(what + " " + found.Details(r))
	_, err := fmt.Fprintf(f.table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s/%d\n",
		r.Time.Format("2006-01-02T15:04:05.000Z"), printable.Text(who, math.MaxInt), r.Source, r.Enterprise, did,
		printable.Text(what, math.MaxInt), found.Result(r), r.AnswerFrom, r.RequestID, r.TraceID, r.Replica, r.Seq)
	return err
}

func (f *tableWriter) Flush() error { return f.table.Flush() }
