// Package found words what a search of the evidence finds, for those who asked.
package found

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/printable"
)

// Particulars are the members that a record has of its own which is not about a call:
// which configuration was taken, what a switch came to, why something may be missing.
func Particulars(r *audit.Found) map[string]json.RawMessage {
	switch r.Kind {
	case audit.KindConfiguration, audit.KindAdministration, audit.KindKey, audit.KindGap, audit.KindDropped:
	default:
		return nil
	}
	var about map[string]json.RawMessage
	if json.Unmarshal([]byte(r.Text), &about) != nil {
		return nil // a record that was found can be read
	}
	for _, name := range [...]string{"seq", "prev", "time", "kind", "hash", "sig", "replica", "source", "method", "url"} {
		delete(about, name) // shown elsewhere, or of the chain
	}
	return about
}

// Details are those members in one line.
func Details(r *audit.Found) string {
	about := Particulars(r)
	var all []string
	for _, name := range slices.Sorted(maps.Keys(about)) {
		all = append(all, name+"="+strings.Trim(string(about[name]), `"`))
	}
	return strings.Join(all, " ")
}

// Result is what became of a call.
func Result(r *audit.Found) string {
	switch {
	case !r.Outcome:
		return "not known: it may have taken effect"
	case r.Sent != nil && !*r.Sent:
		return fmt.Sprintf("%d, not sent", r.Status)
	case r.Status == 0 && r.Method != "":
		return "no answer"
	case r.Status == 0:
		return ""
	case r.Cut:
		return fmt.Sprintf("%d, cut after %d bytes", r.Status, r.BytesOut)
	}
	return fmt.Sprintf("%d, %d bytes", r.Status, r.BytesOut)
}

// CSV writes found records as CSV (RFC 4180) that a spreadsheet opens as it is: UTF-8 with a byte order
// mark, every cell in quotes.
type CSV struct{ w *bufio.Writer }

// NewCSV begins CSV with the names of its columns.
func NewCSV(w io.Writer) *CSV {
	c := &CSV{bufio.NewWriter(w)}
	c.w.WriteString("\ufeff")
	_ = c.row(func(name string) any { return name }) // Flush gives the error
	return c
}

// csvColumns are the cells of a row: members of a found record as JSON has them, and record,
// result and details.
var csvColumns = strings.Fields("time replica record kind caller actor purpose source enterprise named client " +
	"provider upstream action method url messages moreMessages attachment created idempotencyKey result status " +
	"upstreamStatus problem bytesIn bytesOut answerFrom cache requestId parentId traceId tokenHash details")

// Write writes a row.
func (c *CSV) Write(f *audit.Found) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	var members map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		return err
	}
	members["time"], members["record"] = f.Time.UTC().Format(time.RFC3339Nano), f.Seq
	members["result"], members["details"] = Result(f), Details(f)
	return c.row(func(name string) any { return members[name] })
}

func (c *CSV) row(cell func(column string) any) error {
	for i, name := range csvColumns {
		if i > 0 {
			c.w.WriteByte(',')
		}
		text := ""
		switch v := cell(name).(type) {
		case nil:
		case []any: // of texts
			text = strings.TrimSuffix(fmt.Sprintln(v...), "\n")
		default:
			text = fmt.Sprint(v)
		}
		c.w.WriteByte('"')
		c.w.WriteString(strings.ReplaceAll(printable.Cell(text), `"`, `""`))
		c.w.WriteByte('"')
	}
	_, err := c.w.WriteString("\r\n")
	return err
}

// Flush writes what is buffered.
func (c *CSV) Flush() error { return c.w.Flush() }
