package admin

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAPortInUseIsNamedWithItsKey(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	err = New(Options{Listen: taken.Addr().String()}).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "port "+port) || !strings.Contains(err.Error(), "admin.listen") {
		t.Errorf("%v", err)
	}
}

func TestReasonsNotToListenAreExplained(t *testing.T) {
	for number, part := range map[syscall.Errno]string{
		syscall.EADDRINUSE: "in use", syscall.EADDRNOTAVAIL: "no address", syscall.EACCES: "may not listen", syscall.EMFILE: "too many open files",
	} {
		err := explainListen("192.0.2.1:80", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", number)})
		if !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), "admin.listen") {
			t.Errorf("%v: %v", number, err)
		}
	}
}

func TestBadAddressesAreExplained(t *testing.T) {
	for address, part := range map[string]string{
		"9901":                              "host:port",
		"unix:":                             "absolute path",
		"unix:run/x.sock":                   "absolute path",
		"unix:@sidecar":                     "abstract",
		"unix:/" + strings.Repeat("x", 107): "the kernel allows",
		"unix:/proc/nowhere/x.sock":         "directory exist",
	} {
		if err := New(Options{Listen: address}).Start(t.Context()); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", address, err, part)
		}
	}
}

func TestAUnixSocketIsForItsOwnerAndGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	s := New(Options{Listen: "unix:" + path})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	file, err := os.Stat(path)
	if err != nil || file.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", file.Mode(), err)
	}
	if s.Address() != "unix:"+path {
		t.Errorf("address %s", s.Address())
	}
	if err := (&Client{Address: s.Address()}).Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestTheSocketOfADeadProcessIsTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()
	s := start(t, Options{Listen: "unix:" + path})
	if err := (&Client{Address: s.Address()}).Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestASocketThatAnswersIsLeftAlone(t *testing.T) {
	s := start(t, Options{Listen: "unix:" + filepath.Join(t.TempDir(), "admin.sock")})
	err := New(Options{Listen: s.Address()}).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("%v", err)
	}
	if err := (&Client{Address: s.Address()}).Healthy(t.Context()); err != nil {
		t.Errorf("the first one was harmed: %v", err)
	}
}

func TestAFileThatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := New(Options{Listen: "unix:" + path}).Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("%v", err)
	}
	if data, err := os.ReadFile(path); string(data) != "data" {
		t.Errorf("%q, %v", data, err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := New(Options{Listen: "unix:" + link}).Start(t.Context()); err == nil {
		t.Error("a symbolic link was replaced")
	}
}

// After a takeover the path belongs to the successor.
func TestShutdownLeavesTheSocketOfASuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	old := New(Options{Listen: "unix:" + path})
	if err := old.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor := start(t, Options{Listen: "unix:" + path})
	if err := old.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := (&Client{Address: successor.Address()}).Healthy(t.Context()); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
}
