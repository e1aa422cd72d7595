// Package descriptors keeps a few file descriptors free. A process that has used up all of
// them can open no file and accept nobody, its administrators neither, just when they have to
// see why. So callers and upstreams get none of the last ones: those are for files and for the
// admin listener.
package descriptors

import (
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reserve is how many are kept free: for the admin listener's callers, and for the files that
// are read and written meanwhile.
const reserve = 32

// limits are how many descriptors the process may have, and how many of them are kept free.
func limits() (all, kept uint64) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxInt, 0
	}
	all = min(limit.Cur, math.MaxInt)
	return all, min(reserve, all/4)
}

// InUse counts the descriptors of the process and how many it may have; zeros where that cannot
// be known.
func InUse() (used, most int) {
	all, kept := limits()
	if kept == 0 {
		return 0, 0
	}
	folder, err := os.Open("/proc/self/fd")
	switch {
	case os.IsNotExist(err) || os.IsPermission(err):
		return 0, 0
	case err != nil:
		return int(all), int(all) // there is none left for this
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return 0, 0
	}
	return len(names), int(all)
}

// ForCallers is how many connections of callers leave as many descriptors for the upstreams,
// and some for what is open all the time: logs, evidence, Redis, the listeners.
func ForCallers() int {
	all, kept := limits()
	return int((all - 2*kept) / 2)
}

// Last reports whether the descriptor of a connection that was just opened is one of the last of
// the process (RLIMIT_NOFILE). The kernel always gives the lowest one that is free, so all
// below it are in use. What is no connection of the system's has none.
func Last(nc any) bool {
	return isLast(nc, func(fd uintptr) uintptr { return fd })
}

// Short reports whether one more would be one of the last, nc being any connection that is open.
func Short(nc any) bool {
	return isLast(nc, func(fd uintptr) uintptr {
		next, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return math.MaxInt // there is none
		}
		_ = unix.Close(next)
		return uintptr(next)
	})
}

// isLast reports whether the descriptor that of gives for a connection's is one of the last.
func isLast(nc any, of func(fd uintptr) uintptr) (last bool) {
	c, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	all, kept := limits()
	_ = raw.Control(func(fd uintptr) { last = uint64(of(fd)) >= all-kept }) // a closed one has none
	return last
}
