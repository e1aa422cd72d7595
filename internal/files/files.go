// Package files reads the files that a configuration names.
//
// They are read again and again while the gateway serves, and by people's mistake any
// of them may be something else than a file: a FIFO that nobody writes to, a device, a
// path on a network file system whose server is gone. Opening or reading one of those
// can last for ever, and nothing can interrupt it. So only regular files are read, they
// are opened without waiting, and whoever asks waits for a bounded time. What hangs
// goes on in the background, once per path, until the file system answers.
package files

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Most is the largest file that is read where nothing smaller is expected. 100,000
// enterprises take some ten megabytes.
const Most = 256 << 20

// Patience is how long one read may take.
const Patience = 5 * time.Second

// ErrHangs is the error of a file that could not be read within Patience.
var ErrHangs = errors.New("reading it does not end: does the file system or its server hang?")

// hanging are the paths whose reading did not end in time, until it does. Such a read
// keeps a thread of the process, so that no path may have two of them.
var hanging = struct {
	sync.Mutex
	paths map[string]bool
}{paths: make(map[string]bool)}

// Read returns the content of a regular file of at most most bytes. It returns after
// Patience at the latest, with ErrHangs; while that read hangs, later ones of the same
// path return the error at once.
func Read(path string, most int64) ([]byte, error) {
	return bounded(path, func() ([]byte, error) {
		f, size, err := open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		content := bytes.NewBuffer(make([]byte, 0, min(size, most)+bytes.MinRead))
		if _, err := content.ReadFrom(io.LimitReader(f, most+1)); err != nil {
			return nil, err
		}
		if int64(content.Len()) > most {
			return nil, &fs.PathError{Op: "read", Path: path,
				Err: fmt.Errorf("more than %d bytes: this is the wrong file", most)}
		}
		return content.Bytes(), nil
	})
}

// Sum is the SHA-256 of what Read would return, whatever the size.
func Sum(path string) ([sha256.Size]byte, error) {
	return bounded(path, func() (sum [sha256.Size]byte, err error) {
		f, _, err := open(path)
		if err != nil {
			return sum, err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return sum, err
		}
		h.Sum(sum[:0])
		return sum, nil
	})
}

// bounded waits for do, which reads path, as long as Patience.
func bounded[T any](path string, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	late := result{err: &fs.PathError{Op: "read", Path: path, Err: ErrHangs}}
	hanging.Lock()
	hangs := hanging.paths[path]
	hanging.Unlock()
	if hangs {
		return late.value, late.err
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		hanging.Lock()
		defer hanging.Unlock()
		delete(hanging.paths, path)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-time.After(Patience):
	}
	hanging.Lock()
	defer hanging.Unlock()
	select {
	case r := <-done: // in the last moment
		return r.value, r.err
	default:
		hanging.paths[path] = true
		return late.value, late.err
	}
}

// open opens a regular file and gives its size.
func open(path string) (*os.File, int64, error) {
	// Devices are not even opened: some act on that.
	if info, err := os.Stat(path); err != nil {
		return nil, 0, err
	} else if !info.Mode().IsRegular() {
		return nil, 0, notRegular(path, info)
	}
	// Between the two the path may have become a FIFO, whose opening waits for a writer
	// unless it is told not to.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(path, info)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func notRegular(path string, info fs.FileInfo) error {
	if info.IsDir() {
		return &fs.PathError{Op: "read", Path: path, Err: errors.New("is a directory, not a regular file")}
	}
	return &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
}

// Bare is the text of an error without the operation and the path of a file, for where they
// are named beside it.
func Bare(err error) string {
	var of *fs.PathError
	if errors.As(err, &of) {
		if before, _, found := strings.Cut(err.Error(), of.Error()); found {
			return before + of.Err.Error()
		}
	}
	return err.Error()
}

var (
	utf8Mark   = []byte("\xef\xbb\xbf")
	utf16Marks = [][]byte{{0xff, 0xfe}, {0xfe, 0xff}}
	errUTF16   = errors.New("the file is UTF-16, as some editors of Windows save: save it as UTF-8")
)

// Text is Read for a file of text: the byte order mark that some editors put before
// UTF-8 is no part of it, and UTF-16 is named as what it is.
func Text(path string, most int64) ([]byte, error) {
	content, err := Read(path, most)
	if err != nil {
		return nil, err
	}
	for _, mark := range utf16Marks {
		if bytes.HasPrefix(content, mark) {
			return nil, &fs.PathError{Op: "read", Path: path, Err: errUTF16}
		}
	}
	return bytes.TrimPrefix(content, utf8Mark), nil
}
