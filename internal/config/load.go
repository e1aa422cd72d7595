package config

import "errors"

func load(path string, lookup func(string) (string, bool)) (*Config, error) {
	return nil, errors.ErrUnsupported
}

func parse(name string, content []byte, dir string, lookup func(string) (string, bool)) (*Config, error) {
	return nil, errors.ErrUnsupported
}
