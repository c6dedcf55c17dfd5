package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sidecar/discovery"
)

const (
	// maxFile bounds what is read into memory.
	maxFile = 16 << 20
	// readTries is how often a file is read that changes meanwhile, each after settleFor.
	readTries = 10
)

var (
	errTooLarge = errors.New("it is larger than 16 MiB; divide it by service")
	errRestless = errors.New("it changes while it is read, time and again; replace it by renaming a new one over it")
	errNoFile   = errors.New("it is no regular file; name one")
	errEmpty    = errors.New("it is empty, as a file is that somebody has begun to write; a list without instances is [] in JSON and instances = [] in TOML")
)

// read returns what is in the file, or why it cannot be used.
func (w *watch) read(ctx context.Context) discovery.Update {
	data, err := w.content(ctx)
	if err != nil {
		return discovery.Update{Err: w.explain(err)}
	}
	u, err := parse(filepath.Ext(w.Path), data, w.Service)
	if err != nil {
		return discovery.Update{Err: w.explain(err)}
	}
	return u
}

// content returns the file's bytes as they were at one moment.
func (w *watch) content(ctx context.Context) ([]byte, error) {
	for range readTries {
		w.linked = isLink(w.Path)
		data, read, err := w.reader(w.Path)
		if err != nil {
			w.seen, w.young = read, false
			return nil, err
		}
		// The clock of a file's times moves in steps, so that two changes within one look alike.
		age := time.Since(time.Unix(read.ctime.Unix()))
		w.seen, w.young = read, age > -statEvery && age < statEvery
		now, err := stateOf(w.Path)
		if err == nil && now == read {
			return data, nil
		}
		if !discovery.Sleep(ctx, settleFor, nil) {
			return nil, ctx.Err()
		}
	}
	w.seen = state{} // so that the next look reads it again
	return nil, errRestless
}

// A reader returns what is in a file, and its state before it was read. With an error the state
// is that of no file, so that it is read again as soon as there is one, unless nothing but
// another file can help.
type reader func(path string) ([]byte, state, error)

// readFile is the reader of real files.
func readFile(path string) ([]byte, state, error) {
	// Opening a FIFO blocks without O_NONBLOCK until somebody writes.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, state{}, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, state{}, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, newState(info), errNoFile
	case info.Size() > maxFile:
		return nil, newState(info), errTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, state{}, err
	case len(data) > maxFile:
		return nil, state{}, errTooLarge
	}
	return data, newState(info), nil
}

// explain makes the error that is reported: which file, what is wrong, what to do.
func (w *watch) explain(err error) error {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return fmt.Errorf("file: watch %q: %s: %w", w.Service, w.Path, err)
	}
	next := "see what is wrong with its file system"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		next = "create it or correct discovery.file.path"
	case errors.Is(err, fs.ErrPermission):
		next = "let the sidecar's user read it"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		next = "correct discovery.file.path"
	}
	return fmt.Errorf("file: watch %q: %s: %w; %s", w.Service, w.Path, path.Err, next)
}
