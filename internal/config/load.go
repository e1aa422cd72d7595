package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"ebox-gateway/internal/files"
)

// Load reads the file at path, the environment through lookup (os.LookupEnv in
// production) and the enterprise and suspended files that it names. If anything
// is wrong with the content the error is an Errors with every mistake; if path
// cannot be read it is the error of reading.
//
// Key stores, keys, certificates and password files need not be there yet:
// whoever uses them reads them.
func Load(path string, lookup func(string) (string, bool)) (*Config, error) {
	absolute, content, err := read(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(path, content, filepath.Dir(absolute), lookup)
	if err != nil {
		return nil, err
	}
	c.files = append([]string{absolute}, c.files...)
	return c, nil
}

func read(path string) (absolute string, content []byte, err error) {
	if absolute, err = filepath.Abs(path); err != nil {
		return "", nil, fmt.Errorf("finding %s: %w", path, err)
	}
	if content, err = files.Read(absolute, files.Most); err != nil {
		return "", nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return absolute, content, nil
}

// Parse is Load for content already at hand. name stands for the file in
// messages, dir is where relative paths begin.
func Parse(name string, content []byte, dir string, lookup func(string) (string, bool)) (*Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", dir, err)
	}
	m := &mistakes{}
	d := newDecoder(textOf(name, content, m), m, dir, lookup)
	root := d.parse()
	if root == nil {
		if len(m.list) == 0 {
			m.add(d.src, 1, 1, "", "the file is empty: at least environment is expected"+
				allowedWords(reflect.TypeFor[Environment]()))
		}
		return nil, m.errors()
	}
	c := d.config(root)
	sums := make(fileSums)
	k := &check{decoder: d, c: c}
	m.as(derived, func() { k.references(); k.all() })
	k.enterprises(sums)
	m.as(derived, k.represented)
	if err := m.errors(); err != nil {
		return nil, err
	}
	c.warnings, _ = d.warnings.errors().(Errors)
	slices.Sort(d.files)
	c.files = slices.Compact(d.files)
	c.hash = sums.hash(content, c.files)
	return c, nil
}

// LoadAdmin reads the admin section alone, for commands that ask a gateway that runs: the
// rest of the file may be large, or have mistakes. With an error it gives the defaults.
func LoadAdmin(path string, lookup func(string) (string, bool)) (Admin, error) {
	admin := withDefaults[Admin]()
	absolute, content, err := read(path)
	if err != nil {
		return admin, err
	}
	m := &mistakes{}
	d := newDecoder(textOf(path, content, m), m, filepath.Dir(absolute), lookup)
	var file struct {
		Admin Admin `yaml:"admin"`
	}
	file.Admin = admin
	if root := d.parse(); root != nil {
		d.structure("", root, reflect.ValueOf(&file).Elem(), "")
		m.list = slices.DeleteFunc(m.list, func(e Error) bool { return !strings.HasPrefix(e.Path, "admin") })
	}
	if err := m.errors(); err != nil {
		return admin, err
	}
	return file.Admin, nil
}

// config decodes the document over defaults and presets.
func (d *decoder) config(root *node) *Config {
	c := new(withDefaults[Config]())
	var ahead struct {
		Environment Environment `yaml:"environment"`
	}
	d.ahead().structure("", root, reflect.ValueOf(&ahead).Elem(), "")
	presetOf(ahead.Environment).apply(c)
	d.structure("", root, reflect.ValueOf(c).Elem(), "")
	return c
}

// fileSums remembers the checksums of the files that were read, so that the hash
// is over what was used and not over what came after.
type fileSums map[string][sha256.Size]byte

func (f fileSums) read(path string) ([]byte, error) {
	content, err := files.Read(path, files.Most)
	if err != nil {
		return nil, err
	}
	f[path] = sha256.Sum256(content)
	return content, nil
}

// hash is over the configuration and every file it names. One that cannot be read has the zero sum.
func (f fileSums) hash(content []byte, paths []string) string {
	whole := sha256.New()
	own := sha256.Sum256(content)
	whole.Write(own[:])
	for _, path := range paths {
		sum, known := f[path]
		if !known {
			sum, _ = files.Sum(path)
		}
		fmt.Fprintf(whole, "%q %x\n", path, sum)
	}
	return hex.EncodeToString(whole.Sum(nil))
}
