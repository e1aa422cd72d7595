// Package systemd notifies systemd of how the service is doing, and runs other commands as its unit
// says that the service runs.
package systemd

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ebox-gateway/internal/files"
)

// Unit is what a systemd unit says about how its service runs.
type Unit struct {
	User, Group string
	Groups      []string // supplementary ones
	Environment []string // KEY=VALUE
	Config      string   // of --config in ExecStart
	OpenFiles   uint64   // 0 if it does not say
}

// ReadUnit reads the part of a unit file, and of its drop-ins, that a command needs to
// see what the service sees (systemd.exec(5)).
func ReadUnit(path string) (*Unit, error) {
	u := &Unit{}
	paths, err := filepath.Glob(path + ".d/*.conf")
	if err != nil {
		return nil, fmt.Errorf("finding the drop-ins of %s: %w", path, err)
	}
	for _, file := range append([]string{path}, paths...) {
		content, err := files.Text(file, files.Most)
		if err != nil {
			return nil, fmt.Errorf("reading the unit: %w; say with --unit where it is", err)
		}
		if err := u.read(string(content)); err != nil {
			return nil, fmt.Errorf("reading the unit %s: %w", file, err)
		}
	}
	return u, nil
}

func (u *Unit) read(text string) error {
	text = strings.ReplaceAll(text, "\\\n", " ")
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "[Service]" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		if err := u.set(strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return nil
}

func (u *Unit) set(key, value string) error {
	switch key {
	case "User":
		u.User = value
	case "Group":
		u.Group = value
	case "SupplementaryGroups":
		u.Groups = append(u.Groups, strings.Fields(value)...)
	case "Environment":
		words, err := words(value)
		u.Environment = append(u.Environment, words...)
		return err
	case "EnvironmentFile":
		path, optional := strings.CutPrefix(value, "-")
		if path == "" {
			u.Environment = nil // systemd: an empty value forgets those before
			return nil
		}
		list, err := environmentFile(path)
		u.Environment = append(u.Environment, list...)
		if optional && errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	case "LimitNOFILE":
		if n, err := strconv.ParseUint(value[strings.IndexByte(value, ':')+1:], 10, 64); err == nil { // the hard one of two
			u.OpenFiles = n
		}
	case "ExecStart":
		words, err := words(value)
		for i, word := range words {
			if path, ok := strings.CutPrefix(word, "--config="); ok {
				u.Config = path
			} else if word == "--config" && i+1 < len(words) {
				u.Config = words[i+1]
			}
		}
		return err
	}
	return nil
}

// environmentFile reads lines KEY=VALUE as systemd does: "#" and ";" begin comments, and
// quotes around a value belong to it no more.
func environmentFile(path string) (list []string, err error) {
	content, err := files.Text(path, files.Most)
	if err != nil {
		return nil, fmt.Errorf("%w; it is root's: run this with sudo", err)
	}
	for line := range strings.Lines(strings.ReplaceAll(string(content), "\\\n", "")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("%s: a line without =", path) // the line may be a secret
		}
		value = strings.TrimSpace(value)
		if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		list = append(list, strings.TrimSpace(name)+"="+value)
	}
	return list, nil
}

// words splits at blanks outside quotes.
func words(text string) (list []string, err error) {
	var word strings.Builder
	quote, inside := byte(0), false
	for _, c := range []byte(text) {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inside = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inside {
				list = append(list, word.String())
				word.Reset()
			}
			inside = false
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inside {
		list = append(list, word.String())
	}
	return list, nil
}

// Run becomes this program with other arguments, as the unit's user. The variable is the one of
// the environment that names the configuration. It returns only if that fails.
func (u *Unit) Run(args []string, variable string) error {
	environment := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"LANG", "TERM", "NO_COLOR"} {
		if value, ok := os.LookupEnv(name); ok {
			environment = append(environment, name+"="+value)
		}
	}
	if u.Config != "" {
		environment = append(environment, variable+"="+u.Config)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	uid, gid, groups, err := u.IDs()
	if err != nil {
		return err
	}
	if u.OpenFiles > 0 && os.Geteuid() == 0 {
		if err := limitFiles(u.OpenFiles); err != nil {
			return fmt.Errorf("setting the limit of open files: %w", err)
		}
	}
	if uid != os.Geteuid() {
		if err := errors.Join(syscall.Setgroups(groups), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
			return fmt.Errorf("becoming the user %s: %w: run this with sudo", u.User, err)
		}
	}
	err = syscall.Exec(self, append([]string{os.Args[0]}, args...), append(environment, u.Environment...))
	return fmt.Errorf("starting %s as %s: %w", self, u.User, err)
}

// limitFiles sets the limit of open files, or as much of it as this process may: root of a
// container may not raise it.
func limitFiles(n uint64) error {
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n})
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		return err
	}
	now.Cur = min(n, now.Max)
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &now)
}

// IDs are the numbers of the unit's user and groups, which it may give as numbers itself.
func (u *Unit) IDs() (uid, gid int, groups []int, err error) {
	if u.User == "" {
		return os.Geteuid(), os.Getegid(), nil, nil
	}
	if who, err := user.Lookup(u.User); err == nil {
		uid, _ = strconv.Atoi(who.Uid) // numbers on Unix
		gid, _ = strconv.Atoi(who.Gid)
		list, _ := who.GroupIds()
		for _, id := range list {
			n, _ := strconv.Atoi(id)
			groups = append(groups, n)
		}
	} else if uid, err = strconv.Atoi(u.User); err != nil {
		return 0, 0, nil, fmt.Errorf("the unit's user %s is not on this machine: useradd --system %s", u.User, u.User)
	} else {
		gid = uid
	}
	for i, name := range append([]string{u.Group}, u.Groups...) {
		if name == "" {
			continue
		}
		id := name
		if g, err := user.LookupGroup(name); err == nil {
			id = g.Gid
		}
		n, err := strconv.Atoi(id)
		if err != nil {
			return 0, 0, nil, fmt.Errorf("the unit's group %s is not on this machine: groupadd --system %s", name, name)
		}
		if i == 0 {
			gid = n
		}
		groups = append(groups, n)
	}
	if !slices.Contains(groups, gid) {
		groups = append(groups, gid)
	}
	return uid, gid, groups, nil
}
