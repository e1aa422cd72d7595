package config

import (
	"fmt"
	"path/filepath"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/files"
)

// EnterprisesIn reads a file of enterprises that need not be in the configuration
// yet: CSV or YAML as in tenancy.enterpriseFiles, by its extension, or else plain
// CBE numbers, one a line, with "#" before a comment. A client that a row names has
// to be one of the configuration's. An enterprise that the configuration lists is
// given with the client that it has there, unless its row names another.
//
// The error is an Errors with every mistake, or that of reading.
func (c *Config) EnterprisesIn(path string) ([]Enterprise, error) {
	content, err := files.Read(path, files.Most)
	if err != nil {
		return nil, fmt.Errorf("reading the enterprises: %w", err)
	}
	m := &mistakes{}
	src := textOf(path, content, m)
	d := newDecoder(src, m, filepath.Dir(path), func(string) (string, bool) { return "", false })
	k := &check{decoder: d, c: c}
	k.references()
	t := newEnterpriseTable(d, k)
	if !t.table(src) {
		t.numbers(src)
	}
	if err := m.errors(); err != nil {
		return nil, err
	}
	c.adoptClients(t.list)
	return t.list, nil
}

// numbers reads plain numbers. One that stands twice is taken once, as in a
// suspended file.
func (t *enterpriseTable) numbers(src *source) {
	for _, n := range suspended(src, t.d.m) {
		if _, twice := t.first[n]; !twice {
			t.add(&Enterprise{Number: n}, origin{src: src})
		}
	}
}

// adoptClients fills in the clients that the configuration knows and the list does
// not name.
func (c *Config) adoptClients(list []Enterprise) {
	clients := make(map[enterprise.Number]string)
	for _, e := range c.Tenancy.Enterprises {
		if e.Client != "" {
			clients[e.Number] = e.Client
		}
	}
	for i := range list {
		if list[i].Client == "" {
			list[i].Client = c.Tenancy.DefaultClient
			if known, ok := clients[list[i].Number]; ok {
				list[i].Client = known
			}
		}
	}
}
