// Package resting says where data rests, for the register of processing activities.
package resting

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/evidence"
)

// Place is a place where data rests: what it is, where, whether it is encrypted, how long it
// rests and how it is erased.
type Place struct{ What, Where, Encrypted, HowLong, Erased string }

// places are those that were found so far.
type places []Place

func (p *places) add(what, where, encrypted, howLong, erased string) {
	*p = append(*p, Place{what, where, encrypted, howLong, erased})
}

// file adds a file of the operator's.
func (p *places) file(what, where, encrypted string) {
	if where != "" {
		p.add(what, where, encrypted, "while the file is there", "by deleting the file")
	}
}

// Places lists every place where data rests in a configuration.
func Places(cfg *config.Config) []Place {
	var p places
	const memory = "memory of the process"
	p.add("access tokens", memory, "no", "until they expire", "with the process")
	p.add("documents, mandates", "nowhere: they pass through in pieces of 32 KiB", "-", "while they pass", "-")
	p.add("bodies of grant/citizen calls (citizens' numbers)", "memory, one call at a time", "no",
		"until the call is answered", "with the call")
	p.add("list of Document Providers", memory, "no", "until the next list", "with the process")
	p.add("access lines: caller, source address, X-Actor, X-Purpose, enterprise, path with citizens' numbers masked, "+
		"hash of the token", "standard error", "as your log store does", "as your log store does", "in your log store")
	p.add("last problems, for the page: source address, caller, X-Actor, enterprise, path with citizens' numbers masked",
		memory+", at most 2,000", "no", "until as many newer ones came", "with the process")
	p.add("enterprises that an upstream refuses: since when, which caller asked last", memory+", at most 10,000", "no",
		"until the upstream serves them again", "with the process")
	p.add(maintenance, memory, "no", "until its end, at most 168 hours", "gateway maintenance end")
	main := "config.yaml"
	if files := cfg.Files(); len(files) > 0 {
		main = files[0]
	}
	p.add("configuration: enterprises represented", main, "no", "while the file is there", "by deleting the line")
	if slices.ContainsFunc(cfg.Routes, func(r config.Route) bool { return r.Cache.Enabled }) {
		p.add("answers that may be kept: lists of messages and their descriptions, reference data",
			fmt.Sprintf("%s, at most %d bytes", memory, cfg.Cache.Memory), "no",
			"while they may be given or validated", "gateway cache purge, or with the process")
	}
	for _, f := range cfg.Tenancy.EnterpriseFiles {
		p.add("enterprises represented", f, "no", "while the file is there", "by deleting the row")
	}
	for _, f := range cfg.Tenancy.SuspendedFiles {
		p.add("suspended enterprises", f, "no", "while the file is there", "by deleting the line")
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.OAuth.Clients)) {
		const byPassword = "by its password"
		switch c := cfg.OAuth.Clients[name]; {
		case c.Keystore != nil:
			p.file("key of client "+name, c.Keystore.File, byPassword)
		case c.Key != nil && (c.Key.Password != "" || c.Key.PasswordFile != ""):
			p.file("key of client "+name, c.Key.File, byPassword)
		case c.Key != nil:
			p.file("key of client "+name, c.Key.File, "no")
		}
	}
	p.secrets(cfg)
	p.evidence(cfg)
	if u := cfg.Tracing.Endpoint; u != nil {
		p.add("traces: routes, providers, statuses, times, trace ids; no enterprise, no citizen", "the collector at "+u.Host,
			"as your collector does", "as your collector does", "in your collector")
		p.add("traces on their way", memory+", at most 4,096 spans", "no",
			"until the collector took them, seconds", "with the process")
	}
	if cfg.Redis.URL != "" {
		p.redis(len(cfg.Redis.EncryptionKeys) > 0)
		if hasClusterRates(cfg) {
			p.add("what is left of the rates for all replicas", "Redis", "no: numbers, under names made with "+
				"redis.encryptionKeys if there are any", "a day at most after the last call", "delete ebox:*:rate:*")
		}
	}
	return p
}

// maintenance is what is known of a switch, wherever it rests.
const maintenance = "what is switched to maintenance: provider, times, reason, the address that did it"

// secrets are the files with secrets besides the clients' keys.
func (p *places) secrets(cfg *config.Config) {
	secret := func(what, file string) { p.file(what, file, "no: for its owner alone to read") }
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
			secret("TLS key of listener "+cmp.Or(l.Name, l.Address), l.TLS.KeyFile)
		}
	}
	secret("token of the admin listener", cfg.Admin.TokenFile)
	for _, k := range cfg.Redis.EncryptionKeys {
		secret("encryption key "+k.ID+" of Redis", k.File)
	}
	secret("header lines for the trace collector", cfg.Tracing.HeadersFile)
}

// evidence is what is kept to be able to say who read or changed what.
func (p *places) evidence(cfg *config.Config) {
	const refusals = "refusals: source, caller, enterprise asked for, path with citizens' numbers masked"
	switch to := cfg.Log.Security; to {
	case "":
	case "stdout", "stderr":
		p.add(refusals, to, "as your log store does", "as your log store does", "in your log store")
	default:
		p.add(refusals, to, "no", "the last 320 to 384 MB", "by deleting the file and FILE.1 to FILE.5")
	}
	a := cfg.Audit
	if a.Dir == "" {
		p.add("evidence of who read or changed what", "nowhere: audit.dir is not set", "-", "-", "-")
		return
	}
	p.add("evidence: caller, source address, X-Actor, X-Purpose, enterprise, message and attachment ids, path with "+
		"citizens' numbers masked, hash of the token", a.Dir, "no: files are 0600, use an encrypted disk",
		fmt.Sprintf("until 1 January after the act plus %d years", a.KeepYears),
		"by the gateway, a file at a time; gateway audit keep for replicas that are gone")
	p.add("evidence in memory", fmt.Sprintf("memory of the process, at most %d records", evidence.Queue(cfg)), "no",
		"under a second; longer while the disk fails", "by being written")
	p.file("key that signs the evidence", cmp.Or(a.KeyFile, a.Dir+"/REPLICA/signing.key"), "no")
	if a.Checkpoints != "" {
		p.add("signed records of the evidence: numbers, times and hashes, nobody's data", a.Checkpoints,
			"no", "as you keep it", "by deleting it")
	}
}

// redis is what replicas share.
func (p *places) redis(sealed bool) {
	encrypted := "no"
	if sealed {
		encrypted = "AES-256-GCM, by redis.encryptionKeys"
	}
	p.add(maintenance, "Redis", encrypted, "30 days after the last switch; it counts until its end",
		"delete ebox:*:list:*")
	p.add("counters that make answers void, places of replicas: random names and numbers, nobody's data", "Redis", "no",
		"as long as replicas run", "delete ebox:*")
	if sealed {
		p.add("access tokens", "Redis", encrypted, "until just before they expire", "delete ebox:*:token:*")
	}
	p.add("list of Document Providers", "Redis", encrypted, "30 days after the last replica fetched it",
		"delete ebox:*:list:*")
	if sealed {
		p.add("answers of routes that cache", "Redis", encrypted, "as long as they may be given",
			"gateway cache purge, or by giving up the keys")
	} else {
		p.add("answers that belong to no enterprise", "Redis", encrypted, "as long as they may be given",
			"gateway cache purge")
	}
}

// hasClusterRates reports whether a rate is counted in Redis.
func hasClusterRates(cfg *config.Config) bool {
	cluster := func(r *config.Rate) bool { return r != nil && r.Scope == config.ClusterRate }
	return slices.ContainsFunc(cfg.Routes, func(r config.Route) bool { return cluster(r.Rate) }) ||
		slices.ContainsFunc(cfg.Callers, func(c config.Caller) bool { return cluster(c.Rate) }) ||
		slices.ContainsFunc(cfg.Tenancy.Enterprises, func(e config.Enterprise) bool { return cluster(e.Rate) })
}
