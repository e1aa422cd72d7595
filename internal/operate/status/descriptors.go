package status

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// causesOfDescriptors warns before there are none left. short tells that callers had to wait for one.
func causesOfDescriptors(short bool) []Attention {
	severity, text := severityDegraded, ""
	switch used, most := descriptors(); {
	case most > 0 && 5*used > 4*most:
		text = fmt.Sprintf("%d of %d file descriptors are in use: at the limit nobody is let in and no upstream reached",
			used, most)
		if 50*used > 49*most {
			severity = severityFailing
		}
	case short:
		text = "callers have as many connections as the file descriptors allow: idle ones are closed for new ones"
	default:
		return nil
	}
	return []Attention{attend(severity, "descriptors", text,
		"See who keeps so many connections (ss -tnp); lower server.limits or raise LimitNOFILE.", "eboxfiledescriptors")}
}

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
