package e2e

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	_ "image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A browser is a headless Chromium, which is told what to do over a pipe (--remote-debugging-pipe: JSON
// messages of the DevTools protocol, a zero byte behind each).
type browser struct {
	t  *testing.T
	in *os.File

	mu      sync.Mutex
	last    int
	waiting map[int]chan reply
	tabs    map[string]*tab // by their session
}

type reply struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// openBrowser starts one, which ends with the test.
func openBrowser(t *testing.T, flags ...string) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: make test-deps installs it (Debian package chromium)")
	}
	commands, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append(flags, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--hide-scrollbars", "--force-color-profile=srgb", "--user-data-dir="+filepath.Join(folder(t), "profile"),
		"--remote-debugging-pipe", "about:blank")...)
	cmd.ExtraFiles = []*os.File{commands, answers} // 3 and 4
	b := &browser{t: t, in: in, waiting: map[int]chan reply{}, tabs: map[string]*tab{}}
	heard := make(chan struct{})
	t.Cleanup(func() { <-heard }) // behind the end of the process, which is the end of the pipe
	t.Cleanup(func() { in.Close() })
	launch(t, cmd)
	commands.Close()
	answers.Close()
	go func() {
		defer close(heard)
		defer out.Close()
		b.hear(out)
	}()
	return b
}

// hear takes in what the browser says, until it has ended.
func (b *browser) hear(out io.Reader) {
	for r := bufio.NewReaderSize(out, 1<<20); ; {
		text, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			for _, w := range b.waiting {
				close(w)
			}
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		var m struct {
			ID        int             `json:"id"`
			Method    string          `json:"method"`
			SessionID string          `json:"sessionId"`
			Params    json.RawMessage `json:"params"`
			reply
		}
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		if w := b.waiting[m.ID]; w != nil {
			delete(b.waiting, m.ID)
			w <- m.reply
		} else if t := b.tabs[m.SessionID]; t != nil {
			t.happened(m.Method, m.Params)
		}
		b.mu.Unlock()
	}
}

type params map[string]any

// do sends a command and decodes its result.
func (b *browser) do(session, method string, p params, into any) {
	b.t.Helper()
	w := make(chan reply, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		b.t.Fatalf("%s: the browser has ended", method)
	}
	b.last++
	text, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": p, "sessionId": session})
	if session == "" {
		text, err = json.Marshal(map[string]any{"id": b.last, "method": method, "params": p})
	}
	if err == nil {
		b.waiting[b.last] = w
		_, err = b.in.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case r, ok := <-w:
		if !ok {
			b.t.Fatalf("%s: the browser has ended", method)
		}
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(r.Result, into); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer", method)
	}
}

// A tab is a page in a browser.
type tab struct {
	*browser
	session, target string

	// Guarded by browser.mu.
	complaints []string // exceptions, and what the page's policy has kept from happening
}

// A look is what a reader has set the browser to.
type look struct {
	width, height int
	dark          bool
	noScript      bool
}

// open opens a page. It returns when the page is loaded.
func (b *browser) open(url string, l look) *tab {
	b.t.Helper()
	var target struct{ TargetID string }
	b.do("", "Target.createTarget", params{"url": "about:blank", "newWindow": true} /* a tab behind another one goes to sleep */, &target)
	var attached struct{ SessionID string }
	b.do("", "Target.attachToTarget", params{"targetId": target.TargetID, "flatten": true}, &attached)
	t := &tab{browser: b, session: attached.SessionID, target: target.TargetID}
	b.mu.Lock()
	b.tabs[t.session] = t
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		t.do(domain+".enable", nil, nil)
	}
	t.do("Emulation.setDeviceMetricsOverride", params{"width": l.width, "height": l.height, "deviceScaleFactor": 1, "mobile": false}, nil)
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	t.do("Emulation.setEmulatedMedia", params{"features": []params{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	t.do("Emulation.setScriptExecutionDisabled", params{"value": l.noScript}, nil)
	var answer struct{ ErrorText string }
	t.do("Page.navigate", params{"url": url}, &answer)
	if answer.ErrorText != "" {
		t.t.Fatalf("%s: %s", url, answer.ErrorText)
	}
	t.wait("the page is loaded", `document.readyState === "complete" && location.href !== "about:blank"`)
	return t
}

func (t *tab) do(method string, p params, into any) {
	t.t.Helper()
	t.browser.do(t.session, method, p, into)
}

// close closes the page.
func (t *tab) close() {
	t.t.Helper()
	t.browser.do("", "Target.closeTarget", params{"targetId": t.target}, nil)
}

// happened is called with the browser's lock held.
func (t *tab) happened(method string, p json.RawMessage) {
	if method == "Runtime.exceptionThrown" || method == "Log.entryAdded" && strings.Contains(string(p), "Content Security Policy") {
		t.complaints = append(t.complaints, string(p))
	}
}

// sound fails the test if something on the page has failed.
func (t *tab) sound() {
	t.t.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.complaints {
		t.t.Errorf("on the page: %s", c)
	}
}

// eval returns the value of an expression on the page, which is text, a number or a truth value.
func (t *tab) eval(expression string) any {
	t.t.Helper()
	var r struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		ExceptionDetails json.RawMessage `json:"exceptionDetails"`
	}
	// The console may use what the page's policy forbids; it runs where scripts are off, too.
	t.do("Runtime.evaluate", params{"expression": expression, "returnByValue": true, "awaitPromise": true, "allowUnsafeEvalBlockedByCSP": true}, &r)
	if r.ExceptionDetails != nil {
		t.t.Fatalf("%s: %s", expression, r.ExceptionDetails)
	}
	return r.Result.Value
}

// text is what can be read where a selector points to; empty if there is nothing.
func (t *tab) text(selector string) string {
	t.t.Helper()
	text, _ := t.eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector)).(string)
	return text
}

// wait waits until an expression is true.
func (t *tab) wait(what, expression string) {
	t.t.Helper()
	within(t.t, patience, what, func() bool { return t.eval(expression) == true })
}

// waitText waits until something can be read.
func (t *tab) waitText(selector, text string) {
	t.t.Helper()
	within(t.t, patience, fmt.Sprintf("%s says %q", selector, text), func() bool { return strings.Contains(t.text(selector), text) })
}

// press presses keys: a letter or sign each, or one that has a name.
func (t *tab) press(keys ...string) {
	t.t.Helper()
	for _, key := range keys {
		text, code := key, 0
		switch key {
		case "Enter":
			text, code = "\r", 13
		case "Escape":
			text, code = "", 27
		case "ArrowDown":
			text, code = "", 40
		case "ArrowUp":
			text, code = "", 38
		case "Tab":
			text, code = "", 9
		}
		down := params{"type": "keyDown", "key": key, "windowsVirtualKeyCode": code}
		if text != "" {
			down["text"] = text
		}
		t.do("Input.dispatchKeyEvent", down, nil)
		t.do("Input.dispatchKeyEvent", params{"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}, nil)
	}
}

// screenshot keeps a picture of the page and returns it; whole is not only what is in the window.
func (t *tab) screenshot(name string, whole bool) image.Image {
	t.t.Helper()
	var shot struct{ Data string }
	t.do("Page.captureScreenshot", params{"format": "png", "captureBeyondViewport": whole}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		t.t.Fatal(err)
	}
	dir := *screenshots
	if dir == "" {
		dir = t.t.TempDir()
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644); err != nil {
		t.t.Fatal(err)
	}
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		t.t.Fatal(err)
	}
	return picture
}

// colours is how many different ones a picture has: a page that is blank has one, and text in one
// colour on another, smoothed, some dozens.
func colours(picture image.Image) int {
	seen := map[[3]uint32]bool{}
	for y := picture.Bounds().Min.Y; y < picture.Bounds().Max.Y; y++ {
		for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
			r, g, b, _ := picture.At(x, y).RGBA()
			seen[[3]uint32{r, g, b}] = true
		}
	}
	return len(seen)
}
