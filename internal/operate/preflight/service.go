package preflight

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/operate/systemd"
)

// ClosedToService has a check for each file that root, who runs this, can read and the
// user of the service with a systemd unit cannot: after its next start the service would be
// without it.
func ClosedToService(cfg *config.Config, unit string) (checks []Check) {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := systemd.ReadUnit(unit)
	if err != nil {
		return nil // there is no service here
	}
	uid, _, groups, err := u.IDs()
	if err != nil || uid == 0 {
		return nil
	}
	for _, file := range cfg.Files() {
		if closed := closedTo(file, uid, groups); closed != "" {
			checks = append(checks, Check{
				Part: "rights", Where: file, Detail: "root can read it, and the service's user " + u.User +
					" cannot, because of " + closed,
				Advice: "chgrp " + u.Group + " it and chmod g+r (g+rx for a folder); \"gateway as-service check\" " +
					"sees what the service sees",
			})
		}
	}
	return checks
}

// closedTo is the file, or the folder above it, that keeps a user from reading; empty if
// none does. Files that are not there are no matter of rights.
func closedTo(file string, uid int, groups []int) string {
	need := uint32(4) // read; of a folder, search
	for {
		info, err := os.Stat(file)
		if err != nil {
			return ""
		}
		mode, owner := uint32(info.Mode().Perm()), info.Sys().(*syscall.Stat_t)
		switch {
		case int(owner.Uid) == uid:
			mode >>= 6
		case slices.Contains(groups, int(owner.Gid)):
			mode >>= 3
		}
		if mode&need == 0 {
			return file
		}
		parent := filepath.Dir(file)
		if parent == file {
			return ""
		}
		file, need = parent, 1
	}
}
