package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Manual pages and completions are made of what help prints, so that they say the same.

// flagsOf are the flags of a command, as it declares them itself before it reads any.
func flagsOf(c command) (list []*flag.Flag) {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	quiet := &process{ctx: context.Background(), stdout: io.Discard, stderr: io.Discard, lookup: os.LookupEnv}
	args := []string{"-h"}
	if len(wordsOf(c)) > 0 { // the flags are those of what it does first
		args = []string{wordsOf(c)[0], "-h"}
	}
	_ = c.run(quiet, flags, args) // flag.ErrHelp, after everything was declared
	flags.VisitAll(func(f *flag.Flag) { list = append(list, f) })
	return list
}

// wordsOf are the words that may follow a command, as its usage has them:
// "audit verify|search [DIR]".
func wordsOf(c command) []string {
	fields := strings.Fields(strings.TrimPrefix(c.usage, c.name))
	if len(fields) == 0 || fields[0] == strings.ToUpper(fields[0]) || strings.HasPrefix(fields[0], "[") {
		return nil
	}
	return strings.Split(fields[0], "|")
}

func manCommand() command {
	return command{
		name: "man", usage: "man [DIR]", summary: "print the manual page, or write one for each command into a directory",
		about: `
  gateway man | man -l -
  sudo gateway man /usr/local/share/man/man1`,
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			rest, err := parse(flags, args)
			if err != nil {
				return err
			}
			if len(rest) > 1 {
				return usageError{"give one directory"}
			}
			if len(rest) == 0 {
				_, err := io.WriteString(p.stdout, overview())
				return err
			}
			pages := map[string]string{"gateway.1": overview()}
			for _, c := range commands() {
				pages["gateway-"+c.name+".1"] = page(c)
			}
			for name, text := range pages {
				if err := os.WriteFile(filepath.Join(rest[0], name), []byte(text), 0o644); err != nil {
					return fmt.Errorf("writing a manual page: %w", err)
				}
			}
			return nil
		},
	}
}

// roff escapes text for a manual page (groff_man(7)).
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func overview() string {
	var b strings.Builder
	fmt.Fprint(&b, ".TH GATEWAY 1\n.SH NAME\ngateway \\- the e\\-Box gateway\n.SH SYNOPSIS\n.B gateway\n.I "+
		"command\n[flags]\n.SH COMMANDS\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, ".TP\n.BR gateway\\-%s (1)\n%s\n", roff(c.name), roff(c.summary))
	}
	fmt.Fprintf(&b, ".SH ENVIRONMENT\n.TP\n.B %s\nthe configuration, if no \\-\\-config says it\n.SH EXIT STATUS\n0 "+
		"fine, 1 failed, 2 wrong usage\n", configVariable)
	return b.String()
}

func page(c command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH GATEWAY-%s 1\n.SH NAME\ngateway\\-%s \\- %s\n.SH SYNOPSIS\n.nf\ngateway %s\n.fi\n",
		strings.ToUpper(c.name), roff(c.name), roff(c.summary), roff(c.usage))
	if c.about != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n.nf\n%s\n.fi\n", roff(strings.TrimSpace(c.about)))
	}
	if list := flagsOf(c); len(list) > 0 {
		b.WriteString(".SH OPTIONS\n")
		for _, f := range list {
			value, usage := flag.UnquoteUsage(f)
			fmt.Fprintf(&b, ".TP\n.B \\-\\-%s %s\n%s\n", roff(f.Name), roff(value), roff(usage))
		}
	}
	b.WriteString(".SH SEE ALSO\n.BR gateway (1)\n")
	return b.String()
}

func completionCommand() command {
	return command{
		name: "completion", usage: "completion bash|zsh|fish", summary: "print a completion for a shell",
		about: `
  bash:  gateway completion bash | sudo tee /etc/bash_completion.d/gateway
  zsh:   gateway completion zsh >"${fpath[1]}/_gateway"
  fish:  gateway completion fish >~/.config/fish/completions/gateway.fish`,
		run: func(p *process, flags *flag.FlagSet, args []string) error {
			rest, err := parse(flags, args)
			if err != nil {
				return err
			}
			shells := map[string]func() string{"bash": bashCompletion, "zsh": func() string {
				return "#compdef gateway\nautoload -U +X bashcompinit && bashcompinit\n" + bashCompletion()
			}, "fish": fishCompletion}
			if len(rest) != 1 || shells[rest[0]] == nil {
				return usageError{"say for which shell: bash, zsh or fish"}
			}
			_, err = io.WriteString(p.stdout, shells[rest[0]]())
			return err
		},
	}
}

// completions are the words and flags that may follow a command.
func completions(c command) []string {
	list := wordsOf(c)
	for _, f := range flagsOf(c) {
		list = append(list, "--"+f.Name)
	}
	return list
}

func bashCompletion() string {
	var b strings.Builder
	var names []string
	b.WriteString("# bash completion of gateway\n_gateway() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} " +
		"words\n\tcase ${COMP_WORDS[1]} in\n")
	for _, c := range commands() {
		names = append(names, c.name)
		fmt.Fprintf(&b, "\t%s) words='%s' ;;\n", c.name, strings.Join(completions(c), " "))
	}
	slices.Sort(names)
	fmt.Fprintf(&b, "\tesac\n\t[ \"$COMP_CWORD\" -eq 1 ] && words='%s help --version'\n", strings.Join(names, " "))
	b.WriteString("\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n\tcase $cur in -*) ;; *) [ \"$COMP_CWORD\" -gt 1 " +
		"] && COMPREPLY+=($(compgen -f -- \"$cur\")) ;; esac\n}\ncomplete -o filenames -F _gateway gateway\n")
	return b.String()
}

func fishCompletion() string {
	var b strings.Builder
	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'" }
	for _, c := range commands() {
		fmt.Fprintf(&b, "complete -c gateway -n __fish_use_subcommand -a %s -d %s\n", c.name, quote(c.summary))
		if list := wordsOf(c); len(list) > 0 {
			fmt.Fprintf(&b, "complete -c gateway -n '__fish_seen_subcommand_from %s' -a '%s'\n", c.name, strings.Join(list, " "))
		}
		for _, f := range flagsOf(c) {
			_, usage := flag.UnquoteUsage(f)
			fmt.Fprintf(&b, "complete -c gateway -n '__fish_seen_subcommand_from %s' -l %s -d %s\n", c.name,
				f.Name, quote(usage))
		}
	}
	return b.String()
}
