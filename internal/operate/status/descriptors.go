package status

import (
	"os"

	"golang.org/x/sys/unix"
)

// descriptors counts the file descriptors of the process and how many it may have; zeros
// where that cannot be known.
func descriptors() (used, most int) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, 0
	}
	folder, err := os.Open("/proc/self/fd")
	if err != nil {
		if os.IsNotExist(err) || os.IsPermission(err) {
			return 0, 0
		}
		return int(limit.Cur), int(limit.Cur) // there is none left for this
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return 0, 0
	}
	return len(names), int(limit.Cur)
}
