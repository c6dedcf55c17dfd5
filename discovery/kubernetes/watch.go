package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sidecar/discovery"
)

const (
	// followLeast to followMost is how long the server is asked to keep a stream open; it is by
	// chance, so that streams that began together do not end together.
	followLeast, followMost = 4 * time.Minute, 6 * time.Minute
	// followMargin is what a stream may last on top of that.
	followMargin = 10 * time.Second

	// pageSize is how many slices one page of a list holds.
	pageSize = 100

	// successBurst requests, and reports, may follow each other at once, then one per successEvery:
	// a service that changes all the time costs two per second, each with all changes since the
	// last. The burst lets the handful of changes of one deployment step through without delay.
	successBurst, successEvery = 4, 500 * time.Millisecond
	// settleTime is how long changes are gathered: the control plane moves an endpoint from one
	// slice to another by two of them.
	settleTime = 50 * time.Millisecond

	// pauseFirst doubles up to pauseMost while requests fail: small enough for updates to arrive
	// within 5 s of the server's return.
	pauseFirst, pauseMost = 250 * time.Millisecond, 2 * time.Second
)

// A Query says the instances of which service are wanted.
type Query struct {
	// Service is the service's name, and Namespace where it is; empty means the Client's.
	Service, Namespace string
	// Port is the name or the number of the TCP port at the pods (the slices', not the service's
	// own). Empty means the only one; if there are several that is a Problem of its slice.
	Port string
}

// Source returns the Source of what q asks for, which can be refreshed.
//
// Instances are the endpoints that are ready; when none is, those that end but still serve, as
// kube-proxy does it. Their IDs are "pod/NAMESPACE/NAME", or the address for what is no pod. A
// service is unknown when it has no slice and none has been seen since Watch began: with a
// selector each has one, if only an empty one. Index is the list's resourceVersion.
func (c *Client) Source(q Query) discovery.Source {
	return &source{client: c, query: q, wake: make(chan struct{}, 1)}
}

type source struct {
	client *Client
	query  Query
	wake   chan struct{} // holds one signal: a fresh look is wanted
}

// Refresh implements discovery.Refresher.
func (s *source) Refresh() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// nameForm is what RFC 1123 calls a label: the names of services and namespaces.
var nameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (s *source) Watch(ctx context.Context, report func(discovery.Update)) {
	w := &watch{
		source: s, report: report,
		asks:  rate.NewLimiter(rate.Every(successEvery), successBurst),
		says:  rate.NewLimiter(rate.Every(successEvery), successBurst),
		pause: discovery.Backoff{First: pauseFirst, Most: pauseMost},
	}
	for ctx.Err() == nil {
		err := w.prepare()
		if err == nil {
			err = w.list(ctx)
		}
		if err == nil {
			w.tell()
			err = w.follow(ctx)
		}
		if err != nil && ctx.Err() == nil {
			w.failed(ctx, err)
		}
	}
}

// A watch is one run of Watch. Its fields belong to that goroutine.
type watch struct {
	*source
	report func(discovery.Update)
	asks   *rate.Limiter // requests
	says   *rate.Limiter // reports
	pause  discovery.Backoff

	namespace string
	path      string
	slices    map[string]slice // by name
	version   string           // resourceVersion that slices are of
	deaf      string           // why changes are polled for and not followed; empty: they are followed
	seen      bool             // the service had a slice at least once
}

// prepare finds out what to ask for.
func (w *watch) prepare() error {
	var err error
	if w.namespace, err = w.client.namespaceOf(w.query); err != nil {
		return err
	}
	// It would be another path of the API, or another selector.
	if !nameForm.MatchString(w.query.Service) {
		return complete{fmt.Errorf("%q is no service's name; correct it", w.query.Service)}
	}
	if !nameForm.MatchString(w.namespace) {
		return complete{fmt.Errorf("%q is no namespace's name; correct it", w.namespace)}
	}
	w.path = "/apis/discovery.k8s.io/v1/namespaces/" + w.namespace + "/endpointslices"
	return nil
}

func (w *watch) selector() url.Values {
	return url.Values{"labelSelector": {"kubernetes.io/service-name=" + w.query.Service}}
}

// list asks for all slices.
func (w *watch) list(ctx context.Context) error {
	select {
	case <-w.wake: // what is looked up now is fresh
	default:
	}
	all, endpoints, next := map[string]slice{}, 0, ""
	for {
		if !discovery.Sleep(ctx, w.asks.Reserve().Delay(), nil) {
			return ctx.Err()
		}
		query := w.selector()
		query.Set("limit", strconv.Itoa(pageSize))
		if next != "" {
			query.Set("continue", next)
		}
		var p page
		err := w.client.get(ctx, w.path, query, &p)
		if next != "" && isGone(err) {
			all, endpoints, next = map[string]slice{}, 0, "" // the pages are of a state that is too old by now
			continue
		}
		if err != nil {
			return err
		}
		if p.Kind != "EndpointSliceList" || p.Metadata.ResourceVersion == "" {
			return malformedError{fmt.Errorf("a list of kind %q at version %q", p.Kind, p.Metadata.ResourceVersion)}
		}
		for _, item := range p.Items {
			s, err := readItem(item)
			if err != nil {
				return err
			}
			all[s.Metadata.Name] = s
			if endpoints += max(len(s.Endpoints), 1); endpoints > maxEndpoints {
				return errTooMany
			}
		}
		if next = p.Metadata.Continue; next == "" {
			w.slices, w.version = all, p.Metadata.ResourceVersion
			return nil
		}
		if len(p.Items) == 0 {
			return malformedError{errors.New("an empty page that is not the last")}
		}
	}
}

// follow keeps w.slices up to date until they have to be listed again, which is no error by
// itself.
func (w *watch) follow(ctx context.Context) error {
	for {
		if !discovery.Sleep(ctx, w.asks.Reserve().Delay(), nil) {
			return ctx.Err()
		}
		again, err := w.stream(ctx)
		if isGone(err) {
			return nil // the server does not know w.version any more
		}
		if again || err != nil {
			return err
		}
	}
}

func isGone(err error) bool {
	answer, ok := errors.AsType[answerError](err)
	return ok && answer.Code == http.StatusGone
}

// stream follows the changes of one request. again tells that the slices have to be listed
// again.
func (w *watch) stream(ctx context.Context) (again bool, err error) {
	length := followLeast + rand.N(followMost-followLeast)
	query := w.selector()
	query.Set("watch", "true")
	query.Set("resourceVersion", w.version)
	query.Set("allowWatchBookmarks", "true")
	query.Set("timeoutSeconds", strconv.Itoa(int(length.Seconds())))

	open, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The beginning of the answer has a deadline of its own.
	deadline := time.AfterFunc(answerTime, func() { cancel(noAnswerError{answerTime}) })
	defer deadline.Stop()
	began := time.Now()
	body, err := w.client.open(open, w.path, query)
	if isForbidden(err) {
		deadline.Stop()
		w.poll(ctx, err)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	deadline.Stop()
	if w.deaf != "" {
		w.deaf = ""
		w.tell()
	}

	changes := make(chan change)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(changes)
		err = readChanges(open, body, changes)
	})
	heard, givenUp := w.take(ctx, changes, length+followMargin)
	cancel(givenUp)
	body.Close()
	reader.Wait()

	lasted := heard || time.Since(began) > successEvery
	if lasted {
		w.pause.Reset()
	}
	switch {
	case givenUp != nil:
		if errors.Is(givenUp, errFresh) {
			givenUp = nil
		}
		return true, givenUp
	case err == nil && lasted, isType[answerError](err):
		return false, err
	case err == nil:
		return false, errAtOnce
	case lasted && !isType[malformedError](err) && !isType[complete](err):
		// Connections end, when a server is replaced for example. What is so now will be told by a
		// list, or why that fails.
		discovery.Sleep(ctx, w.pause.Next(), w.wake)
		return true, nil
	}
	return true, err
}

func isForbidden(err error) bool {
	answer, ok := errors.AsType[answerError](err)
	return ok && answer.Code == http.StatusForbidden
}

// poll is for a service account that may list and not watch: the list has told what is so, and
// will again after a pause. It is a mistake all the same, and told as a Problem of each set.
func (w *watch) poll(ctx context.Context, err error) {
	w.deaf = "changes are polled for and not followed: " + w.client.explain(w.namespace, w.query.Service, err).Error()
	discovery.Sleep(ctx, w.pause.Next(), w.wake)
}

var (
	errFresh   = errors.New("a fresh look is wanted")
	errAtOnce  = errors.New("the stream of changes has ended at once")
	errTooMany = complete{fmt.Errorf("the service has more than %d endpoints; split it", maxEndpoints)}
)

// take applies the changes of a stream and reports them, until the stream ends. Or it gives the
// stream up: because ctx ends, because a fresh look is wanted, because of what a change says, or
// because the stream lasts longer than most. heard tells that there were changes.
func (w *watch) take(ctx context.Context, changes <-chan change, most time.Duration) (heard bool, givenUp error) {
	over := time.NewTimer(most)
	defer over.Stop()
	report := time.NewTimer(0) // stopped: nothing to tell
	report.Stop()
	defer report.Stop()
	for dirty := false; ; {
		select {
		case c, more := <-changes:
			if !more {
				if dirty {
					w.say()
				}
				return heard, nil
			}
			if err := w.apply(c); err != nil {
				return true, err
			}
			heard = true
			if !dirty {
				dirty = true
				report.Reset(max(settleTime, w.says.Reserve().Delay()))
			}
		case <-report.C:
			dirty = false
			w.say()
		case <-w.wake:
			return heard, errFresh
		case <-over.C:
			return heard, errFresh
		case <-ctx.Done():
			return heard, ctx.Err()
		}
	}
}

// apply makes a change.
func (w *watch) apply(c change) error {
	if v := c.slice.Metadata.ResourceVersion; v != "" {
		w.version = v
	}
	switch c.kind {
	case "ADDED", "MODIFIED":
		w.slices[c.slice.Metadata.Name] = c.slice
		endpoints := 0
		for _, s := range w.slices {
			endpoints += max(len(s.Endpoints), 1)
		}
		if endpoints > maxEndpoints {
			return errTooMany
		}
	case "DELETED":
		delete(w.slices, c.slice.Metadata.Name)
	}
	return nil
}

// tell reports what a list has said.
func (w *watch) tell() {
	w.says.Reserve()
	w.say()
}

// say reports the set.
func (w *watch) say() {
	w.seen = w.seen || len(w.slices) > 0
	u := convert(w.slices, w.query.Port)
	u.At = time.Now()
	u.Unknown = !w.seen
	u.Index, _ = strconv.ParseUint(w.version, 10, 64) // opaque by contract, a number in practice
	if len(u.Instances) == 0 && len(u.Problems) > 0 {
		// A mistake in the service, and no reason to drop what worked.
		err := complete{fmt.Errorf("no endpoint is usable: %s", strings.Join(few(u.Problems, 3), "; "))}
		u = discovery.Update{Err: w.client.explain(w.namespace, w.query.Service, err), Problems: u.Problems, States: u.States, At: u.At}
	}
	if w.deaf != "" {
		u.Problems = append(u.Problems, w.deaf)
		slices.Sort(u.Problems)
	}
	w.report(u)
}

// failed reports why a lookup has failed and pauses.
func (w *watch) failed(ctx context.Context, err error) {
	pause := w.pause.Next()
	if answer, ok := errors.AsType[answerError](err); ok {
		pause = max(pause, answer.after)
	}
	w.report(discovery.Update{Err: w.client.explain(w.namespace, w.query.Service, err), At: time.Now()})
	discovery.Sleep(ctx, pause, w.wake)
}
