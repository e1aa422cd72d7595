package mandates

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/printable"
)

// columns of the CSV, and the members of the JSON objects.
var columns = []string{"enterprise", "name", "mandate", "provider", "result", "status", "problem", "reason", "at"}

// incomplete is the result of the last row of a check that was interrupted.
const incomplete = "incomplete"

// Report writes findings as they come, one row each, and counts them.
type Report struct {
	// One of these is set.
	table *bufio.Writer
	csv   *csv.Writer
	json  *json.Encoder
	begun bool

	count map[string]int // by result
	parts map[string]map[string]int
}

func NewReport(w io.Writer, asCSV, asJSON bool) *Report {
	r := &Report{count: make(map[string]int), parts: make(map[string]map[string]int)}
	switch {
	case asCSV:
		r.csv = csv.NewWriter(w)
	case asJSON:
		r.json = json.NewEncoder(w)
		r.json.SetEscapeHTML(false)
	default:
		r.table = bufio.NewWriter(w)
	}
	return r
}

// Write writes a row and counts it; each is on its way when it returns, so that
// whatever ends the process leaves whole rows.
func (r *Report) Write(f Finding) error {
	if f.Result != incomplete {
		r.count[f.Result]++
		at := At(f.Mandate, f.Provider)
		if r.parts[at] == nil {
			r.parts[at] = make(map[string]int)
		}
		r.parts[at][f.Result]++
	}
	first := !r.begun
	r.begun = true
	switch {
	case r.json != nil:
		return r.json.Encode(f)
	case r.csv != nil:
		if first {
			if err := r.csv.Write(columns); err != nil {
				return err
			}
		}
		if err := r.csv.Write(cells(f)); err != nil {
			return err
		}
		r.csv.Flush()
		return r.csv.Error()
	}
	const line = "%-10s  %-24s  %-14s  %-10s  %-6s  %s\n"
	if first {
		fmt.Fprintf(r.table, line, "ENTERPRISE", "MANDATE", "PROVIDER", "RESULT", "STATUS", "REASON")
	}
	if f.Result == incomplete {
		fmt.Fprintf(r.table, "%s: %s\n", strings.ToUpper(incomplete), f.Reason)
		return r.table.Flush()
	}
	why := f.Reason
	if f.Problem != "" {
		why += " (" + f.Problem + ")"
	}
	fmt.Fprintf(r.table, line, f.Enterprise, f.Mandate, f.Provider, f.Result, number(f.Status), why)
	return r.table.Flush()
}

// cells are those of a CSV row. Some of them are the provider's own words.
func cells(f Finding) []string {
	cells := []string{f.Enterprise.String(), f.Name, f.Mandate, f.Provider, f.Result, number(f.Status), f.Problem,
		f.Reason, f.At.Format(time.RFC3339)}
	for i, c := range cells {
		cells[i] = printable.Cell(c)
	}
	return cells
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// Close ends the report; partial says why it is not whole, empty if it is.
func (r *Report) Close(partial string) error {
	if partial == "" {
		return nil
	}
	return r.Write(Finding{Result: incomplete, Reason: partial, At: time.Now().UTC().Truncate(time.Second)})
}

// Summary says for each kind of mandate and provider how many there were of what.
func (r *Report) Summary() []string {
	var lines []string
	for at, counts := range r.parts {
		lines = append(lines, fmt.Sprintf("%s: %d usable, %d refused, %d not tested", at,
			counts[Usable], counts[Refused], counts[NotTested]))
	}
	slices.Sort(lines)
	return lines
}

// AllUsable reports whether everything that was asked can be used.
func (r *Report) AllUsable() bool { return r.count[Refused]+r.count[NotTested] == 0 }

// At names a kind of mandate and who was asked about it.
func At(mandate, provider string) string {
	if provider == "" {
		return mandate
	}
	return mandate + " at " + provider
}

// Answered are the questions that earlier results answer.
type Answered map[question]bool

type question struct {
	enterprise        enterprise.Number
	mandate, provider string
}

func (a Answered) Has(n enterprise.Number, mandate, provider string) bool {
	return a[question{n, mandate, provider}]
}

// TakeOver reads the results of an earlier check, CSV or JSON, and writes those that
// are final, and about an enterprise of the list, into the new report.
func (a Answered) TakeOver(path string, list []config.Enterprise, out *Report) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading earlier results: %w", err)
	}
	defer file.Close()
	wanted := make(map[enterprise.Number]bool, len(list))
	for _, e := range list {
		wanted[e.Number] = true
	}
	words := make(map[string]string) // kinds and ids repeat: each is kept once
	keep := func(s string) string {
		if kept, ok := words[s]; ok {
			return kept
		}
		s = strings.Clone(s)
		words[s] = s
		return s
	}
	return eachRow(file, func(f Finding) error {
		if f.Result != Usable && f.Result != Refused || !wanted[f.Enterprise] {
			return nil
		}
		q := question{f.Enterprise, keep(f.Mandate), keep(f.Provider)}
		if a[q] {
			return nil
		}
		a[q] = true
		return out.Write(f)
	})
}

// eachRow reads results row by row. The last one may be cut short, where a machine
// went down.
func eachRow(r io.Reader, take func(Finding) error) error {
	in := bufio.NewReader(r)
	start, err := in.Peek(1)
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("reading earlier results: the file is empty; a shell empties the file that it writes to, " +
			"so write to another one")
	case err != nil:
		return fmt.Errorf("reading earlier results: %w", err)
	}
	if start[0] == '{' {
		for d := json.NewDecoder(in); ; {
			var f Finding
			switch err := d.Decode(&f); {
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				return nil
			case err != nil:
				return fmt.Errorf("reading earlier results: %w", err)
			}
			if err := take(f); err != nil {
				return err
			}
		}
	}
	rows := csv.NewReader(in)
	rows.FieldsPerRecord, rows.ReuseRecord = -1, true
	header, err := rows.Read()
	if err != nil || !slices.Equal(header, columns) {
		return errors.New("reading earlier results: they are neither the CSV nor the JSON of this command (a " +
			"table cannot be resumed)")
	}
	for {
		cells, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			if _, more := in.Peek(1); errors.Is(more, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading earlier results: %w", err)
		case len(cells) != len(columns):
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimPrefix(cells[i], "'")
		}
		n, err := enterprise.Parse(cells[0])
		if err != nil {
			continue // the row of an interruption is about none
		}
		status, _ := strconv.Atoi(cells[5]) // empty where there was no answer
		at, _ := time.Parse(time.RFC3339, cells[8])
		if err := take(Finding{Enterprise: n, Name: cells[1], Mandate: cells[2], Provider: cells[3],
			Result: cells[4], Status: status, Problem: cells[6], Reason: cells[7], At: at}); err != nil {
			return err
		}
	}
}

// Open gives the enterprises for which something is still to be asked, the first most
// of them if most is above zero.
func (a Answered) Open(list []config.Enterprise, check *Check, most int) []config.Enterprise {
	open := slices.DeleteFunc(list, func(e config.Enterprise) bool { return check.Done(e.Number, a.Has) })
	if most > 0 && len(open) > most {
		open = open[:most]
	}
	return open
}
