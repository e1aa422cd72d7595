package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/printable"
	"ebox-gateway/internal/progress"
)

func auditCommand(p *process) *cobra.Command {
	c := group("audit", "verify, search and export the evidence of who read or changed what",
		auditVerify(p), auditSearch(p), auditExport(p), auditKeep(p), auditKey(p))
	c.Long = `DIR is the directory of audit.dir, or one replica's in it; without any, that of the
configuration. Give several for replicas whose evidence lies on volumes of their own. A
gateway may be running meanwhile, except for keep. Compressed files
(.jsonl.gz) are read as they are, also by --checkpoints; no line of them is changed.`
	return c
}

// auditDirs are the directories that were given, or that of the configuration, which then
// comes with it.
func auditDirs(p *process, file string, args []string) ([]string, *config.Config, error) {
	if len(args) > 0 {
		return args, nil, nil
	}
	cfg, err := loadConfig(p, file)
	if err != nil {
		return nil, nil, fmt.Errorf("%w\nOr name the directory of the evidence: gateway audit … DIR", err)
	}
	if cfg.Audit.Dir == "" {
		return nil, nil, errors.New("this configuration keeps no evidence: audit.dir is not set")
	}
	return []string{cfg.Audit.Dir}, cfg, nil
}

// auditChains are the directories of the chains there.
func auditChains(p *process, file string, args []string) ([]string, *config.Config, error) {
	dirs, cfg, err := auditDirs(p, file, args)
	var chains []string
	for _, dir := range dirs {
		list, failed := audit.Chains(dir)
		if failed != nil {
			return nil, nil, failed
		}
		chains = append(chains, list...)
	}
	return chains, cfg, err
}

func auditVerify(p *process) *cobra.Command {
	c := &cobra.Command{
		Use:   "verify [DIR …]",
		Short: "read the whole chain of every replica and name each place that is not as it was written",
	}
	flags := c.Flags()
	file := configFlag(flags)
	keyFiles := flags.StringArray("key", nil, "the `file` of a public key that is trusted; may be given again (default: "+
		"those beside the evidence)")
	checkpoints := flags.StringArray("checkpoints", nil, "a `file` of signed records that were shipped off the "+
		"machine; may be given again")
	authorities := flags.String("tsa", "", "a `file` with the certificates of the time-stamping "+
		"authorities that are trusted")
	bundle := flags.Bool("bundle", false, "the directories are bundles of audit export")
	c.RunE = func(_ *cobra.Command, rest []string) error {
		dirs, _, err := auditDirs(p, *file, rest)
		if err != nil {
			return err
		}
		o := audit.VerifyOptions{Checkpoints: *checkpoints, Bundle: *bundle}
		if o.Keys, err = audit.LoadPublicKeys(*keyFiles...); err != nil {
			return err
		}
		if *authorities != "" {
			if o.Authorities, err = audit.LoadAuthorities(*authorities); err != nil {
				return err
			}
		}
		shown := p.newProgress("verifying", audit.Size(dirs), progress.Bytes)
		o.Read = shown.Add
		reports, between, err := audit.VerifyAll(dirs, o)
		shown.Clear()
		if err != nil {
			return err
		}
		findings := len(between)
		for _, f := range between {
			fmt.Fprintln(p.stdout, f)
		}
		findings += printReports(p, reports)
		if findings > 0 {
			fmt.Fprintf(p.stdout, "\n%d places are not as they were written\n", findings)
			return errReported
		}
		return nil
	}
	return c
}

// printReports says what verifying chains found, and counts it.
func printReports(p *process, reports []audit.Report) (findings int) {
	for i := range reports {
		findings += len(reports[i].Findings) + reports[i].More
		printReport(p, &reports[i])
	}
	return findings
}

// printReport says what verifying one chain found. What is wrong comes first.
func printReport(p *process, r *audit.Report) {
	for _, f := range r.Findings {
		fmt.Fprintln(p.stdout, f)
	}
	if r.More > 0 {
		fmt.Fprintf(p.stdout, "… and %d more\n", r.More)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(p.stdout, "note: %s\n", n)
	}
	word := "verified"
	if len(r.Findings) > 0 {
		word = "NOT AS IT WAS WRITTEN"
	}
	if r.Records == 0 {
		fmt.Fprintf(p.stdout, "%s: %s: there is no record in it\n", r.Dir, word)
		return
	}
	fmt.Fprintf(p.stdout, "%s: %s: %s in %s (%d compressed), seq %d to %d, %s to %s, %s compared, %s\n",
		r.Dir, word, counted(r.Records, "record"), counted(r.Segments, "file"), r.Compressed, r.First, r.Last,
		printable.Text(r.From, math.MaxInt), printable.Text(r.To, math.MaxInt),
		counted(r.Checkpoints, "checkpoint"), counted(r.Timestamps, "time stamp"))
	if unsigned := r.Last - min(r.Signed, r.Last); unsigned > 0 {
		fmt.Fprintf(p.stdout, "note: the last %d records are not signed yet: what comes after seq %d could be cut off or "+
			"added to without a trace\n", unsigned, r.Signed)
	}
	if r.OwnKeys {
		fmt.Fprintln(p.stdout, "note: the keys lay beside the evidence; with --key and a copy kept elsewhere this says more")
	}
}

func auditKey(p *process) *cobra.Command {
	c := &cobra.Command{Use: "key [DIR …]", Short: "print the public keys, to be kept where the evidence is not"}
	flags := c.Flags()
	file := configFlag(flags)
	c.RunE = func(_ *cobra.Command, rest []string) error {
		chains, _, err := auditChains(p, *file, rest)
		if err != nil {
			return err
		}
		for _, chain := range chains {
			files, err := filepath.Glob(filepath.Join(chain, "public-*.pem"))
			if err != nil {
				return err
			}
			keys, err := audit.LoadPublicKeys(files...)
			if err != nil {
				return err
			}
			for i, key := range keys {
				fmt.Fprintf(p.stdout, "# %s, SHA-256 %s\n%s", files[i], audit.Fingerprint(key), audit.PublicPEM(key))
			}
		}
		return nil
	}
	return c
}

func auditKeep(p *process) *cobra.Command {
	c := &cobra.Command{Use: "keep [DIR …]", Short: "drop and compress, in chains that no gateway writes any more"}
	flags := c.Flags()
	file := configFlag(flags)
	years := flags.Int("years", 0, "how many whole `years` after its own a record is kept (default: the "+
		"configuration's, 10 with DIR)")
	keyFile := flags.String("key-file", "", "the `file` of the private key that signs (default: the configuration's, or "+
		"the one beside the evidence)")
	c.RunE = func(_ *cobra.Command, rest []string) error {
		if *years < 0 || *years == 0 && flags.Changed("years") {
			return usageError{"--years has to be at least 1"}
		}
		chains, cfg, err := auditChains(p, *file, rest)
		if err != nil {
			return err
		}
		o := audit.Options{Version: version(), Log: slog.New(slog.NewTextHandler(p.stderr, nil))}
		o.KeyFile, o.KeepYears = *keyFile, *years
		if cfg != nil {
			o.KeyFile, o.KeepYears = cmp.Or(o.KeyFile, cfg.Audit.KeyFile), cmp.Or(o.KeepYears, cfg.Audit.KeepYears)
		}
		var failed []error
		for _, chain := range chains {
			o.Dir, o.Replica = filepath.Dir(chain), filepath.Base(chain)
			n, err := audit.Keep(o)
			if err != nil {
				failed = append(failed, err)
				continue
			}
			fmt.Fprintf(p.stdout, "%s: %d files were dropped\n", chain, n)
		}
		return errors.Join(failed...)
	}
	return c
}
