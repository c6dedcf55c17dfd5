package secure

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A reloaded one is a Termination whose files a test changes.
type reloaded struct {
	*testing.T
	*Termination
	told []string
}

func reloading(t *testing.T, o TerminationOptions) *reloaded {
	t.Helper()
	r := &reloaded{T: t}
	o.OnReload = func(err error) {
		if err == nil {
			err = errors.New("new ones are in use")
		}
		r.told = append(r.told, err.Error())
	}
	term, err := NewTermination(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Termination = term
	return r
}

// look has it look at the files, twice: what is wrong the first time may be in the making.
func (r *reloaded) look() {
	r.watch.check()
	r.watch.check()
}

// want compares what was told since the last call with parts of what is wanted.
func (r *reloaded) want(parts ...string) {
	r.Helper()
	if !slices.EqualFunc(r.told, parts, strings.Contains) {
		r.Errorf("told %q, want %q", r.told, parts)
	}
	r.told = nil
}

func (r *reloaded) serial(name string) *big.Int { return shown(r.T, r.Config(), name).SerialNumber }

func certificates(list ...[]byte) (text []byte) {
	for _, der := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func TestFilesThatAreCutOffAreNotTaken(t *testing.T) {
	one, two, dir := newAuthority(t, "one"), newAuthority(t, "two"), t.TempDir()
	leaf := one.issue(wish{names: []string{"a.example"}})
	certFile, keyFile := files(t, dir, "a", leaf)
	bundle := filepath.Join(dir, "bundle.pem")
	whole := map[string][]byte{certFile: certificates(leaf.Certificate[0], one.cert.Raw), bundle: certificates(one.cert.Raw, two.cert.Raw)}
	for file, text := range whole {
		put(t, file, text)
	}
	r := reloading(t, TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}, ClientCAFile: bundle, ClientAuth: Required})
	inUse := func() {
		t.Helper()
		client := &tls.Config{RootCAs: one.pool(), ServerName: "a.example", Certificates: []tls.Certificate{two.issue(wish{names: []string{"c.example"}})}}
		if _, _, err := shake(r.Config(), client); err != nil {
			t.Error(err)
		}
		if n := len(r.current.Load().pairs[0].Certificate); n != 2 {
			t.Errorf("the chain has %d certificates", n)
		}
	}
	inUse()
	for file, text := range whole {
		begin := strings.LastIndex(string(text), "-----BEGIN")
		for name, cut := range map[string][]byte{
			"in the last line":     text[:len(text)-10],
			"in the middle":        text[:len(text)-100],
			"behind the beginning": text[:begin+len("-----BEGIN CERT")],
			"in the beginning":     text[:begin+len("-----B")],
			"a hole in the first":  append(slices.Clone(text[:100]), text[begin-5:]...),
		} {
			put(t, file, cut)
			r.look()
			if len(r.told) != 1 || !strings.Contains(r.told[0], errCutOff.Error()) || !strings.Contains(r.told[0], file) {
				t.Errorf("%s %s: told %q", file, name, r.told)
			}
			inUse()
			put(t, file, text)
			r.look()
			r.told = nil
		}
	}
	put(t, bundle, certificates(one.cert.Raw, two.cert.Raw[:200]))
	r.look()
	r.want("certificate 2: ")
	inUse()
	if _, err := NewTermination(TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}, ClientCAFile: bundle, ClientAuth: Required}); err == nil {
		t.Error("it begins with a file that is damaged")
	}
}

func TestABrokenPairKeepsNoOtherFromBeingRenewed(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	issue := func(name string) (certFile, keyFile string) {
		return files(t, dir, name, ca.issue(wish{names: []string{name + ".example"}}))
	}
	certA, keyA := issue("a")
	certB, keyB := issue("b")
	caFile := ca.file(dir)
	r := reloading(t, TerminationOptions{
		CertFiles: []string{certA, certB}, KeyFiles: []string{keyA, keyB}, ClientCAFile: caFile, ClientAuth: Optional,
	})
	oldA, oldB, goodB := r.serial("a.example"), r.serial("b.example"), must(os.ReadFile(certB))
	put(t, certB, []byte("x"))
	r.look()
	r.want("b.pem")
	put(t, caFile, []byte("y"))
	issue("a")
	r.look()
	r.want("new ones are in use", "b.pem")
	if status := r.Status(); !strings.Contains(status.Problem, "b.pem") || !strings.Contains(status.Problem, caFile) || len(status.Certificates) != 2 || status.Reloads != 1 {
		t.Errorf("%+v", status)
	}
	if r.serial("a.example").Cmp(oldA) == 0 {
		t.Error("the good pair is not renewed")
	}
	if r.serial("b.example").Cmp(oldB) != 0 {
		t.Error("the broken pair has not stayed as it was")
	}
	put(t, certB, goodB)
	ca.file(dir)
	r.look()
	r.want("new ones are in use")
	if status := r.Status(); status.Problem != "" {
		t.Errorf("%+v", status)
	}
}

// What is back as it was is not what is in use.
func TestAPairThatIsTakenBackIsTakenBack(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	certA, keyA := files(t, dir, "a", ca.issue(wish{names: []string{"a.example"}}))
	certB, keyB := files(t, dir, "b", ca.issue(wish{names: []string{"b.example"}}))
	r := reloading(t, TerminationOptions{CertFiles: []string{certA, certB}, KeyFiles: []string{keyA, keyB}})
	old := r.serial("a.example")
	before := map[string][]byte{certA: must(os.ReadFile(certA)), keyA: must(os.ReadFile(keyA)), certB: must(os.ReadFile(certB))}
	put(t, certB, []byte("x"))
	files(t, dir, "a", ca.issue(wish{names: []string{"a.example"}}))
	r.look()
	for file, text := range before {
		put(t, file, text)
	}
	r.look()
	if r.serial("a.example").Cmp(old) != 0 {
		t.Error("what has been taken back is in use")
	}
	if status := r.Status(); status.Problem != "" {
		t.Errorf("%+v", status)
	}
}

func TestACertificateThatHasExpiredReplacesNoGoodOne(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	certFile, keyFile := files(t, dir, "a", ca.issue(wish{names: []string{"a.example"}}))
	r := reloading(t, TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}})
	old := r.serial("a.example")
	files(t, dir, "a", ca.issue(wish{names: []string{"a.example"}, until: -time.Minute}))
	r.look()
	r.want("the one before it is valid now")
	if r.serial("a.example").Cmp(old) != 0 {
		t.Error("it is in use")
	}
	files(t, dir, "a", ca.issue(wish{names: []string{"a.example"}}))
	r.look()
	r.want("new ones are in use")

	// Of two that have expired the newer one may as well be shown.
	certFile, keyFile = files(t, dir, "b", ca.issue(wish{names: []string{"b.example"}, until: -time.Hour}))
	r = reloading(t, TerminationOptions{CertFiles: []string{certFile}, KeyFiles: []string{keyFile}})
	files(t, dir, "b", ca.issue(wish{names: []string{"b.example"}, until: -time.Minute}))
	r.look()
	r.want("new ones are in use")
}

func TestAnOriginationKeepsWhatCannotBeRenewed(t *testing.T) {
	ca, dir := newAuthority(t, "ours"), t.TempDir()
	certFile, keyFile := files(t, dir, "mine", ca.issue(wish{names: []string{"c.example"}}))
	caFile := ca.file(dir)
	o, err := NewOrigination(OriginationOptions{CAFile: caFile, CertFile: certFile, KeyFile: keyFile, ServerName: "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	mine := func() *big.Int {
		c, err := o.Configs()[0].GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber
	}
	old := mine()
	put(t, caFile, []byte("x"))
	files(t, dir, "mine", ca.issue(wish{names: []string{"c.example"}}))
	o.watch.check()
	o.watch.check()
	if mine().Cmp(old) == 0 {
		t.Error("the certificate is not renewed")
	}
	if !o.Configs()[0].RootCAs.Equal(ca.pool()) {
		t.Error("the authorities have not stayed")
	}
	if problem := o.Status().Problem; !strings.Contains(problem, caFile) {
		t.Errorf("%q", problem)
	}
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}
