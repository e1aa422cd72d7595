// Package process runs this binary once more, as a process whose processor time, memory and sockets are its own.
package process

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// Process is what Start has started.
type Process struct {
	URL     string // of what it serves
	Control string // URL of what it tells of itself
	cmd     *exec.Cmd
	stdin   io.Closer
}

// Start starts this binary with further variables of the environment, each NAME=value, and waits for its Announce.
func Start(environment ...string) (*Process, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, stdin: stdin}
	var serving, control string
	if _, err := fmt.Fscan(stdout, &serving, &control); err != nil {
		p.Stop()
		return nil, fmt.Errorf("starting %q: %w", environment, err)
	}
	p.URL, p.Control = "http://"+serving, "http://"+control
	return p, nil
}

// Stop ends the process and waits for it.
func (p *Process) Stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

// Announce is called in the process that Start has started: it tells where that serves, and serves control beside. The
// process has to end when over is closed, which it is by Stop and when its parent ends.
func Announce(serving net.Addr, control http.Handler) (over <-chan struct{}, err error) {
	told, err := Serve(control)
	if err != nil {
		return nil, err
	}
	fmt.Println(serving, told)
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	return ended, nil
}

// Serve serves on a free port of the loopback interface for as long as this process runs.
func Serve(h http.Handler) (net.Addr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	return l.Addr(), nil
}
