// Package redistest starts real Redis servers for tests: one server, a group behind
// Sentinels, a Cluster. They run in directories of their own, on free ports of the
// loopback interface, and end with the test. A server can be frozen, ended and started
// again, which is most of what a Redis does to those who rely on it.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"ebox-gateway/internal/needs"
	"ebox-gateway/internal/testkit"
)

// client speaks to a server for the test. A *redis.Client itself would have each package that
// uses this one compile thousands of the library's methods anew.
type client interface {
	redis.Cmdable
	Do(ctx context.Context, args ...any) *redis.Cmd
	Close() error
}

// Server is one Redis server.
type Server struct {
	// Addr is its host:port.
	Addr string

	t       testing.TB
	args    []string
	client  client
	process *exec.Cmd // nil while it does not run
}

// Start starts a server with further arguments of redis-server, as in "--maxmemory",
// "1mb". It ends with the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	port := testkit.Port(t)
	return start(t, port, redis.Options{}, append([]string{"--port", port}, args...)...)
}

// start starts a server to which the test logs in as o says.
func start(t testing.TB, port string, o redis.Options, args ...string) *Server {
	t.Helper()
	logging.Disable() // refused connections are what tests provoke
	s := &Server{
		Addr: "127.0.0.1:" + port, t: t,
		args: append(args, "--bind", "127.0.0.1", "--dir", Dir(t), "--save", "", "--appendonly", "no"),
	}
	o.Addr, o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled, o.DisableIdentity = s.Addr, -1, 1, true, true
	o.PipelinePoolSize = -1
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	s.client = redis.NewClient(&o)
	t.Cleanup(func() {
		_ = s.client.Close()
		s.Stop()
	})
	s.Run()
	return s
}

// Run starts the server again after Stop, with the data that it was told to keep.
func (s *Server) Run() {
	s.t.Helper()
	s.process = exec.Command(needs.Program(s.t, "redis-server", "redis-server"), s.args...)
	testkit.Must(s.t, s.process.Start())
	testkit.Await(s.t, "redis-server on "+s.Addr, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := s.client.Ping(ctx).Err()
		var reply redis.Error
		if errors.As(err, &reply) && !redis.HasErrorPrefix(err, "LOADING") {
			return nil // it refuses something, and so it is there
		}
		return err
	})
}

// Stop ends the server at once, as a crash would.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	s.process = nil
}

// Freeze stops the server from doing anything; its connections stay, and new ones are
// accepted by the kernel. Thaw ends that.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	testkit.Must(s.t, s.process.Process.Signal(sig))
}

// Do sends a command and gives the answer; an error fails the test.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	v, err := s.client.Do(ctx, args...).Result()
	for range 3 {
		if !errors.Is(err, io.EOF) {
			break
		}
		v, err = s.client.Do(ctx, args...).Result() // Sentinels end all connections to a new master
	}
	if err != nil && err != redis.Nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// Keys gives the names of all keys.
func (s *Server) Keys() (names []string) {
	s.t.Helper()
	for _, name := range s.Do("KEYS", "*").([]any) {
		names = append(names, name.(string))
	}
	return names
}

// Everything gives all that can be read in the server: keys, fields and values.
func (s *Server) Everything() []byte {
	s.t.Helper()
	ctx := context.Background()
	var all bytes.Buffer
	for _, name := range s.Keys() {
		fmt.Fprintf(&all, "%s\n", name)
		switch kind := s.client.Type(ctx, name).Val(); kind {
		case "string":
			fmt.Fprintf(&all, "%s\n", s.client.Get(ctx, name).Val())
		case "hash":
			for field, value := range s.client.HGetAll(ctx, name).Val() {
				fmt.Fprintf(&all, "%s=%s\n", field, value)
			}
		case "none": // it has just expired
		default:
			s.t.Fatalf("%s is a %s, which the gateway never writes", name, kind)
		}
	}
	return all.Bytes()
}

// Dir gives a directory with a path short enough for a socket in it.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis")
	testkit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
