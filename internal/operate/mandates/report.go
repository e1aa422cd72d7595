package mandates

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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
	row func(Finding) error
	// counts are by kind of mandate and provider, and by result.
	counts map[string]map[string]int
}

// NewReport makes a report as CSV, as a JSON object a line, or else as a table.
func NewReport(w io.Writer, asCSV, asJSON bool) *Report {
	r := &Report{counts: make(map[string]map[string]int)}
	switch {
	case asCSV:
		rows := csv.NewWriter(w)
		_ = rows.Write(columns) // is on its way with the first row, whose error tells of both
		r.row = func(f Finding) error {
			_ = rows.Write(cells(f))
			rows.Flush()
			return rows.Error()
		}
	case asJSON:
		lines := json.NewEncoder(w)
		lines.SetEscapeHTML(false)
		r.row = func(f Finding) error { return lines.Encode(f) }
	default:
		const line = "%-10s  %-24s  %-14s  %-10s  %-6s  %s\n"
		table := bufio.NewWriter(w)
		fmt.Fprintf(table, line, "ENTERPRISE", "MANDATE", "PROVIDER", "RESULT", "STATUS", "REASON")
		r.row = func(f Finding) error {
			why := f.Reason
			if f.Problem != "" {
				why += " (" + f.Problem + ")"
			}
			if f.Result == incomplete {
				fmt.Fprintf(table, "%s: %s\n", strings.ToUpper(incomplete), why)
			} else {
				fmt.Fprintf(table, line, f.Enterprise, f.Mandate, f.Provider, f.Result, number(f.Status), why)
			}
			return table.Flush()
		}
	}
	return r
}

// Write writes a row and counts it; each is on its way when it returns, so that
// whatever ends the process leaves whole rows.
func (r *Report) Write(f Finding) error {
	if at := At(f.Mandate, f.Provider); f.Result != incomplete {
		if r.counts[at] == nil {
			r.counts[at] = make(map[string]int)
		}
		r.counts[at][f.Result]++
	}
	return r.row(f)
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

// Incomplete writes the last row of a report that is not whole, with the reason.
func (r *Report) Incomplete(reason string) error {
	return r.Write(Finding{Result: incomplete, Reason: reason, At: time.Now().UTC().Truncate(time.Second)})
}

// Summary says for each kind of mandate and provider how many there were of what.
func (r *Report) Summary() (lines []string) {
	for _, at := range slices.Sorted(maps.Keys(r.counts)) {
		n := r.counts[at]
		lines = append(lines, fmt.Sprintf("%s: %d usable, %d refused, %d not tested", at, n[Usable], n[Refused],
			n[NotTested]))
	}
	return lines
}

// AllUsable reports whether everything that was asked can be used.
func (r *Report) AllUsable() bool {
	for _, n := range r.counts {
		if n[Refused]+n[NotTested] > 0 {
			return false
		}
	}
	return true
}

// At names a kind of mandate and who was asked about it.
func At(mandate, provider string) string {
	if provider == "" {
		return mandate
	}
	return mandate + " at " + provider
}

// Answered are the questions that earlier results answer.
type Answered map[question]bool

// question is whether there is a mandate for an enterprise at a provider.
type question struct {
	enterprise        enterprise.Number
	mandate, provider string
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
	return eachRow(file, func(f Finding) error {
		q := question{f.Enterprise, f.Mandate, f.Provider}
		if f.Result != Usable && f.Result != Refused || !wanted[f.Enterprise] || a[q] {
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
	rows.FieldsPerRecord = -1
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
