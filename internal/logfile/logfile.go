// Package logfile appends whole lines to files that others may rename, remove or rotate.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
)

// File is a file of lines that is opened anew when it was renamed or removed, and on Reopen.
// With a size it rotates: FILE becomes FILE.1, that FILE.2, and the last one goes. It is safe
// for concurrent use.
type File struct {
	mu     sync.Mutex
	path   string
	most   int64
	keep   int
	file   *os.File // nil after a failure and after Reopen
	closed bool
	size   int64
}

// Open opens a file, which only its owner may read if it is made. It is rotated before it
// would exceed most bytes, and keep older files stay beside it; with most 0 it is not
// rotated. What a process that was killed has left of a line is cut off.
func Open(path string, most int64, keep int) (*File, error) {
	f := &File{path: path, most: most, keep: keep}
	return f, f.open()
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() {
		var end int64
		if end, err = wholeLines(file, info.Size()); err == nil && end < info.Size() {
			err = file.Truncate(end)
		}
		f.size = end
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file = file
	return nil
}

// wholeLines is where the last whole line of a file of some size ends, in bytes.
func wholeLines(r io.ReaderAt, size int64) (int64, error) {
	part := make([]byte, 64<<10)
	for end := size; end > 0; {
		begin := max(end-int64(len(part)), 0)
		n, err := r.ReadAt(part[:end-begin], begin)
		if err != nil && (!errors.Is(err, io.EOF) || int64(n) < end-begin) {
			return 0, err
		}
		if at := bytes.LastIndexByte(part[:n], '\n'); at >= 0 {
			return begin + int64(at) + 1, nil
		}
		end = begin
	}
	return 0, nil
}

// Write appends whole lines.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed { // a request ends that began before another file was configured
		return 0, os.ErrClosed
	}
	if !f.inPlace() {
		_ = f.file.Close() // what it holds is no longer ours
		f.file = nil
	}
	if f.file != nil && f.most > 0 && f.size > 0 && f.size+int64(len(p)) > f.most {
		if err := f.rotate(); err != nil {
			return 0, fmt.Errorf("rotating %s: %w", f.path, err)
		}
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	if err != nil { // a full disk may have taken half a line, which opening cuts off
		_ = f.file.Close() // what went wrong before says more
		f.file = nil
	}
	return n, err
}

// InPlace reports whether the path still leads to the file that is open, with what was written to
// it. It does so as well where none is open.
func (f *File) InPlace() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inPlace()
}

func (f *File) inPlace() bool {
	if f.file == nil {
		return true
	}
	at, err := os.Stat(f.path)
	if err != nil {
		return false
	}
	own, err := f.file.Stat()
	return err == nil && os.SameFile(at, own) && (!own.Mode().IsRegular() || own.Size() >= f.size)
}

func (f *File) rotate() error {
	err := f.file.Close()
	f.file = nil
	if err != nil {
		return err
	}
	older := func(n int) string { return f.path + "." + strconv.Itoa(n) }
	for n := f.keep - 1; n > 0; n-- {
		if err := os.Rename(older(n), older(n+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if f.keep == 0 {
		return os.Remove(f.path)
	}
	return os.Rename(f.path, older(1))
}

// Reopen gives up the open file and opens what is at the path now, making it if there is
// nothing. A nil *File does nothing.
func (f *File) Reopen() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	if f.file != nil {
		_ = f.file.Close() // nothing of it is buffered
		f.file = nil
	}
	return f.open()
}

// Close closes the file for good. A nil *File does nothing.
func (f *File) Close() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
