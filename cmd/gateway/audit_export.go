package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/operate/found"
)

func auditExport(p *process) *cobra.Command {
	c := &cobra.Command{
		Use:   "export [DIR …]",
		Short: "write what search finds as CSV, or whole days as a bundle for an auditor",
	}
	flags := c.Flags()
	file := configFlag(flags)
	query := searchFlags(flags)
	csv := flags.String("csv", "", "write what search would find as CSV: a new `file`, or - for standard output")
	bundle := flags.String("bundle", "", "write whole days (UTC), from --from to --to, for an auditor: a new "+
		"`directory`, or a file.tar")
	keyFiles := flags.StringArray("key", nil,
		"the `file` of a public key against which a bundle is verified; may be given again")
	c.MarkFlagsOneRequired("csv", "bundle")
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains([]string{"bundle", "key", "config", "from", "to"}, f.Name) {
			c.MarkFlagsMutuallyExclusive("bundle", f.Name) // which holds everything of whole days
		}
	})
	c.RunE = func(_ *cobra.Command, rest []string) error {
		if *csv != "" {
			q, err := query()
			if err != nil {
				return err
			}
			if *csv == "-" {
				return searchAll(p, *file, rest, q, found.NewCSV(p.stdout))
			}
			return writeNew(*csv, func(w io.Writer) error { return searchAll(p, *file, rest, q, found.NewCSV(w)) })
		}
		var days [2]time.Time // zero is no bound
		for i, name := range [...]string{"from", "to"} {
			text := flags.Lookup(name).Value.String()
			var err error
			if days[i], err = time.Parse(time.DateOnly, text); err != nil && text != "" {
				return usageError{fmt.Sprintf("--%s %q: a bundle holds whole days: write one as 2026-01-31", name, text)}
			}
		}
		return exportBundle(p, *file, rest, *bundle, days[0], days[1], *keyFiles)
	}
	return c
}

func exportBundle(p *process, file string, dirs []string, to string, from, until time.Time, keyFiles []string) error {
	chains, _, err := auditChains(p, file, dirs)
	if err != nil {
		return err
	}
	var o audit.VerifyOptions
	if o.Keys, err = audit.LoadPublicKeys(keyFiles...); err != nil {
		return err
	}
	dir := to
	if strings.HasSuffix(to, ".tar") {
		if _, err := os.Lstat(to); err == nil {
			return fmt.Errorf("making the bundle: %s is there already", to)
		}
		above, err := os.MkdirTemp(filepath.Dir(to), "bundle-*")
		if err != nil {
			return fmt.Errorf("making the bundle: %w", err)
		}
		defer os.RemoveAll(above) // a copy of what is in the tar
		dir = filepath.Join(above, "bundle")
	}
	reports, err := audit.Export(chains, dir, from, until, o)
	if err != nil {
		return err
	}
	if len(reports) == 0 {
		return errors.Join(errors.New("making the bundle: there is no signed record of these days"), os.RemoveAll(dir))
	}
	if dir != to {
		err := writeNew(to, func(f io.Writer) error {
			w := tar.NewWriter(f)
			return errors.Join(w.AddFS(os.DirFS(dir)), w.Close())
		})
		if err != nil {
			return err
		}
	}
	if findings := printReports(p, reports); findings > 0 {
		fmt.Fprintf(p.stdout, "\nThe bundle is written, and %d places in it are not as the gateway wrote them: run gateway "+
			"audit verify\n", findings)
		return errReported
	}
	fmt.Fprintf(p.stdout, "%s: VERIFY.md in it says how to verify it without this program\n", to)
	return nil
}

// writeNew writes a file that must not be there yet.
func writeNew(to string, write func(io.Writer) error) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the export: %w", err)
	}
	return errors.Join(write(f), f.Sync(), f.Close())
}
