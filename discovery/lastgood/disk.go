package lastgood

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// A disk is what a Store asks of the file system. Names are whole paths.
type disk interface {
	create(dir string) (file, error) // a new temporary file in dir
	rename(from, to string) error
	remove(path string) error
	syncDir(dir string) error // what was renamed in it survives a crash after this
}

type file interface {
	io.WriteCloser
	Name() string
	Sync() error
}

type realDisk struct{}

// temporary names begin with a dot, as no kept file does.
const temporaryPrefix, temporarySuffix = ".lastgood-", ".tmp"

func isTemporary(name string) bool {
	return strings.HasPrefix(name, temporaryPrefix) && strings.HasSuffix(name, temporarySuffix)
}

func (realDisk) create(dir string) (file, error) {
	// The name is random, since two processes may use one folder.
	return os.CreateTemp(dir, temporaryPrefix+"*"+temporarySuffix)
}

func (realDisk) rename(from, to string) error { return os.Rename(from, to) }
func (realDisk) remove(path string) error     { return os.Remove(path) }

func (realDisk) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readFile reads a kept file. What is no regular file is none of ours, and a FIFO would block.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s: %w", path, errTooLarge)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	return data, nil
}

// suffix ends the name of a kept file.
const suffix = ".json"

// maxStem leaves room below the 255 bytes that file systems allow.
const maxStem = 240

// fileName is the name of a service's file: the service's own name where that is harmless, and
// %XX for every other byte, so that no two services share a file and none leaves the folder. A name
// too long for the file system ends with the hash of all of it.
func fileName(service string) string {
	var b strings.Builder
	for i := range len(service) {
		c := service[i]
		if !plain(c) || c == '.' && i == 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	stem := b.String()
	switch {
	case stem == "":
		stem = "%"
	case len(stem) > maxStem:
		// "%~" is in no other name, nor is a lone "%".
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(service)))
		stem = stem[:maxStem-len(sum)-len("%~")] + "%~" + sum
	}
	return stem + suffix
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}

// isFileName tells whether fileName may have made a name.
func isFileName(name string) bool {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok || stem == "" || stem[0] == '.' {
		return false
	}
	for i := range len(stem) {
		if c := stem[i]; !plain(c) && c != '%' && c != '~' {
			return false
		}
	}
	return true
}

// isOurs tells whether a file begins as those do that a Store writes. Other programs' files may
// lie in the same folder.
func isOurs(path string) bool {
	data := make([]byte, 64)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	n, _ := io.ReadFull(f, data)
	_ = f.Close()
	head := string(data[:n])
	return strings.HasPrefix(head, `{"version":`) && strings.Contains(head, `,"sha256":"`)
}
