package e2e

import (
	"cmp"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// unmetH2 are the cases of h2spec that are not met, with the reason.
func unmetH2() map[string]string {
	return map[string]string{
		"http2/3.5: Sends invalid connection preface": "the port speaks HTTP/1.1, too: what is no preface is answered with 400, and the connection closed (RFC 9113 3.4 leaves that to the server)",
	}
}

// An h2case is what h2spec says about one case.
type h2case struct {
	Name    string    `xml:"classname,attr"`
	Failed  *h2cause  `xml:"failure"`
	Errored *h2cause  `xml:"error"` // what came was not even HTTP/2
	Skipped *struct{} `xml:"skipped"`
}

// An h2cause is what was expected, and what came.
type h2cause struct {
	Text string `xml:",chardata"`
}

// h2spec is a client that breaks the rules of HTTP/2 and HPACK one by one, and looks at what
// comes of it. All its cases pass, the strict ones, too, but for those above, which have to
// fail.
func TestH2specPasses(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	tool, report := filepath.Join(dir, "h2spec"), filepath.Join(dir, "report.xml")
	build := exec.Command("go", "build", "-modfile=tools/h2spec/go.mod", "-o", tool, "github.com/summerwind/h2spec/cmd/h2spec")
	build.Dir, build.Env = root(t), environment("GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build h2spec: %v\n%s", err, out)
	}
	o := serveOrigin(t, "orders-1")
	s := serving(t, static("orders", "", o.address))
	p := launch(t, exec.Command(tool, "--strict", "--host", "127.0.0.1", "--port", port(t, s, "orders"), "--timeout", "10", "--junit-report", report))
	p.wait() // its status is that of the cases, which are looked at one by one
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v; h2spec wrote:\n%s%s", err, &p.out, &p.err)
	}
	var all struct {
		Suites []struct {
			Package string   `xml:"package,attr"`
			Cases   []h2case `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	unmet, passed := unmetH2(), 0
	for _, suite := range all.Suites {
		for _, c := range suite.Cases {
			name := suite.Package + ": " + c.Name
			_, listed := unmet[name]
			delete(unmet, name)
			cause := cmp.Or(c.Failed, c.Errored)
			switch {
			case c.Skipped != nil:
				t.Errorf("%s was not asked", name)
			case cause == nil && listed:
				t.Errorf("%s passes: take it off the list", name)
			case cause == nil:
				passed++
			case !listed:
				t.Errorf("%s: %s", name, cause.Text)
			}
		}
	}
	for name := range unmet {
		t.Errorf("there is no case %s", name)
	}
	if passed < 140 {
		t.Errorf("%d cases have passed, of some 145 that there are", passed)
	}
	t.Logf("%d cases have passed", passed)
}
