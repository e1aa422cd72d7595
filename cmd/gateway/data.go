package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/evidence"
)

func dataCommand(p *process) *cobra.Command {
	c := &cobra.Command{
		Use: "data", Short: "list every place where data rests in this configuration",
		Long: "For the register of processing activities: what rests where, encrypted or not, for how " +
			"long, and how it is erased.",
		Args: noArguments,
	}
	flags := c.Flags()
	path := configFlag(flags)
	c.RunE = func(_ *cobra.Command, _ []string) error {
		cfg, err := loadConfig(p, *path)
		if err != nil {
			return err
		}
		// One below the other: side by side they fit on no screen and no page.
		for i, r := range resting(cfg) {
			if i > 0 {
				fmt.Fprintln(p.stdout)
			}
			fmt.Fprintf(p.stdout, "%s\n  where      %s\n  encrypted  %s\n  how long   %s\n  erased     %s\n", r.what, r.where,
				r.encrypted, r.howLong, r.erased)
		}
		return nil
	}
	return c
}

// rest is one place where data rests.
type rest struct{ what, where, encrypted, howLong, erased string }

func resting(cfg *config.Config) []rest {
	list := []rest{
		{"access tokens", "memory of the process", "no", "until they expire", "with the process"},
		{"documents, mandates", "nowhere: they pass through in pieces of 32 KiB", "-", "while they pass", "-"},
		{
			"bodies of grant/citizen calls (citizens' numbers)", "memory, one call at a time", "no",
			"until the call is answered", "with the call",
		},
		{"list of Document Providers", "memory of the process", "no", "until the next list", "with the process"},
		{"access lines: caller, source address, X-Actor, X-Purpose, enterprise, path with citizens' numbers masked, hash " +
			"of the token", "standard error", "as your log store does", "as your log store does", "in your log store"},
		{
			"last problems, for the page: source address, caller, X-Actor, enterprise, path with citizens' numbers masked",
			"memory of the process, at most 2,000", "no", "until as many newer ones came", "with the process",
		},
		{
			"enterprises that an upstream refuses: since when, which caller asked last", "memory of the process, at most 10,000",
			"no", "until the upstream serves them again", "with the process",
		},
		{maintenance, "memory of the process", "no", "until its end, at most 168 hours", "gateway maintenance end"},
		{
			"configuration: enterprises represented", orDefault(first(cfg.Files()), "config.yaml"), "no",
			"while the file is there", "by deleting the line",
		},
	}
	if slices.ContainsFunc(cfg.Routes, func(r config.Route) bool { return r.Cache.Enabled }) {
		list = append(list, rest{
			"answers that may be kept: lists of messages and their descriptions, reference data",
			fmt.Sprintf("memory of the process, at most %d bytes", cfg.Cache.Memory), "no",
			"while they may be given or validated", "gateway cache purge, or with the process",
		})
	}
	for _, f := range cfg.Tenancy.EnterpriseFiles {
		list = append(list, rest{"enterprises represented", f, "no", "while the file is there", "by deleting the row"})
	}
	for _, f := range cfg.Tenancy.SuspendedFiles {
		list = append(list, rest{"suspended enterprises", f, "no", "while the file is there", "by deleting the line"})
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.OAuth.Clients)) {
		c := cfg.OAuth.Clients[name]
		switch {
		case c.Keystore != nil:
			list = append(list, rest{
				"key of client " + name, c.Keystore.File, "by its password", "while the file is there",
				"by deleting the file",
			})
		case c.Key != nil:
			encrypted := "no"
			if c.Key.Password != "" || c.Key.PasswordFile != "" {
				encrypted = "by its password"
			}
			list = append(list, rest{
				"key of client " + name, c.Key.File, encrypted, "while the file is there",
				"by deleting the file",
			})
		}
	}
	list = append(list, secretsOf(cfg)...)
	list = append(list, evidenceOf(cfg)...)
	if u := cfg.Tracing.Endpoint; u != nil {
		list = append(list,
			rest{"traces: routes, providers, statuses, times, trace ids; no enterprise, no citizen", "the collector at " +
				u.Host, "as your collector does", "as your collector does", "in your collector"},
			rest{
				"traces on their way", "memory of the process, at most 4,096 spans", "no",
				"until the collector took them, seconds", "with the process",
			})
	}
	if cfg.Redis.URL != "" {
		list = append(list, inRedis(len(cfg.Redis.EncryptionKeys) > 0)...)
		if hasClusterRates(cfg) {
			list = append(list, rest{
				"what is left of the rates for all replicas", "Redis",
				"no: numbers, under names made with redis.encryptionKeys if there are any", "a day at most after the last call",
				"delete ebox:*:rate:*",
			})
		}
	}
	return list
}

// maintenance is what is known of a switch, wherever it rests.
const maintenance = "what is switched to maintenance: provider, times, reason, the address that did it"

// secretsOf are the files with secrets besides the clients' keys.
func secretsOf(cfg *config.Config) (list []rest) {
	secret := func(what, file string) {
		if file != "" {
			list = append(list, rest{
				what, file, "no: for its owner alone to read", "while the file is there",
				"by deleting the file",
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.OAuth.Clients)) {
		c := cfg.OAuth.Clients[name]
		if c.Keystore != nil {
			secret("password of client "+name, c.Keystore.PasswordFile)
			secret("key password of client "+name, c.Keystore.KeyPasswordFile)
		}
		if c.Key != nil {
			secret("password of client "+name, c.Key.PasswordFile)
		}
	}
	for _, l := range slices.Concat(cfg.Server.Listen, cfg.Admin.Listen) {
		if l.TLS != nil {
			secret("TLS key of listener "+orDefault(l.Name, l.Address), l.TLS.KeyFile)
		}
	}
	secret("token of the admin listener", cfg.Admin.TokenFile)
	for _, k := range cfg.Redis.EncryptionKeys {
		secret("encryption key "+k.ID+" of Redis", k.File)
	}
	secret("header lines for the trace collector", cfg.Tracing.HeadersFile)
	return list
}

// evidenceOf is what is kept to be able to say who read or changed what.
func evidenceOf(cfg *config.Config) (list []rest) {
	if to := cfg.Log.Security; to != "" {
		r := rest{
			"refusals: source, caller, enterprise asked for, path with citizens' numbers masked", to, "no",
			"the last 320 to 384 MB", "by deleting the file and FILE.1 to FILE.5",
		}
		if to == "stdout" || to == "stderr" {
			r.encrypted, r.howLong, r.erased = "as your log store does", "as your log store does", "in your log store"
		}
		list = append(list, r)
	}
	a := cfg.Audit
	if a.Dir == "" {
		return append(list, rest{"evidence of who read or changed what", "nowhere: audit.dir is not set", "-", "-", "-"})
	}
	howLong := fmt.Sprintf("until 1 January after the act plus %d years", a.KeepYears)
	list = append(list,
		rest{
			"evidence: caller, source address, X-Actor, X-Purpose, enterprise, message and attachment ids, path with " +
				"citizens' numbers masked, hash of the token", a.Dir, "no: files are 0600, use an encrypted disk", howLong,
			"by the gateway, a file at a time; gateway audit keep for replicas that are gone",
		},
		rest{
			"evidence in memory", fmt.Sprintf("memory of the process, at most %d records", evidence.Queue(cfg)), "no",
			"under a second; longer while the disk fails", "by being written",
		},
	)
	key := rest{"key that signs the evidence", a.KeyFile, "no", "while the file is there", "by deleting the file"}
	if a.KeyFile == "" {
		key.where = a.Dir + "/REPLICA/signing.key"
	}
	list = append(list, key)
	if a.Checkpoints != "" {
		list = append(list, rest{
			"signed records of the evidence: numbers, times and hashes, nobody's data", a.Checkpoints,
			"no", "as you keep it", "by deleting it",
		})
	}
	return list
}

// inRedis is what replicas share.
func inRedis(sealed bool) []rest {
	const nobodys = "counters that make answers void, places of replicas: random names and numbers, nobody's data"
	others := func(encrypted string) []rest {
		return []rest{
			{maintenance, "Redis", encrypted, "30 days after the last switch; it counts until its end", "delete ebox:*:list:*"},
			{nobodys, "Redis", "no", "as long as replicas run", "delete ebox:*"},
		}
	}
	if !sealed {
		return append(others("no"), []rest{
			{"list of Document Providers", "Redis", "no", "30 days after the last replica fetched it", "delete ebox:*:list:*"},
			{"answers that belong to no enterprise", "Redis", "no", "as long as they may be given", "gateway cache purge"},
		}...)
	}
	const sealing = "AES-256-GCM, by redis.encryptionKeys"
	return append(others(sealing), []rest{
		{"access tokens", "Redis", sealing, "until just before they expire", "delete ebox:*:token:*"},
		{"list of Document Providers", "Redis", sealing, "30 days after the last replica fetched it", "delete ebox:*:list:*"},
		{
			"answers of routes that cache", "Redis", sealing, "as long as they may be given",
			"gateway cache purge, or by giving up the keys",
		},
	}...)
}

// hasClusterRates tells whether a rate is counted in Redis.
func hasClusterRates(cfg *config.Config) bool {
	cluster := func(r *config.Rate) bool { return r != nil && r.Scope == config.ClusterRate }
	return slices.ContainsFunc(cfg.Routes, func(r config.Route) bool { return cluster(r.Rate) }) ||
		slices.ContainsFunc(cfg.Callers, func(c config.Caller) bool { return cluster(c.Rate) }) ||
		slices.ContainsFunc(cfg.Tenancy.Enterprises, func(e config.Enterprise) bool { return cluster(e.Rate) })
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
