package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	scanCount = 1000
	maxScans  = 1000 // commands, each of which looks at some scanCount keys of the database
	mgetKeys  = 500
)

var (
	errTooMany  = fmt.Errorf("it has more than %d instances; divide it into several services", maxInstances)
	errTooWide  = fmt.Errorf("the database has more than %d keys to look through; keep instances in a database of their own, or as a set or hash", maxScans*scanCount)
	errNotReady = errors.New("is a replica that has not caught up with its master, so that what it lacks proves nothing; restore the link between them")
)

// wrongTypeError is a key that holds something else.
type wrongTypeError struct{ kind string }

func (e wrongTypeError) Error() string {
	return fmt.Sprintf("the key is a %s; keep instances in a set, a hash, or in strings with a common prefix that ends in \":\"", e.kind)
}

// prefixOf is what the keys of instances begin with when key names strings rather than a set
// or hash.
func prefixOf(key string) (prefix string, ok bool) {
	if rest, ok := strings.CutSuffix(key, "*"); ok {
		return rest, true
	}
	return key, strings.HasSuffix(key, ":") || strings.HasSuffix(key, "/")
}

// look reads what is kept at key, in no particular order. Known is false when nothing is: Redis
// has no empty sets and hashes.
func (c *Client) look(ctx context.Context, key string) (entries []entry, known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if prefix, ok := prefixOf(key); ok {
		entries, err = c.strings(ctx, prefix)
	} else {
		entries, err = c.collection(ctx, key)
	}
	if err == nil && len(entries) == 0 {
		err = c.caughtUp(ctx)
	}
	if err == nil && len(entries) > maxInstances {
		err = errTooMany
	}
	return entries, len(entries) > 0, err
}

// collection reads a set or a hash.
func (c *Client) collection(ctx context.Context, key string) ([]entry, error) {
	kind, err := c.redis.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	var entries []entry
	switch kind {
	case "none":
		return nil, nil
	case "set":
		members, err := c.redis.SMembers(ctx, key).Result()
		for _, m := range members {
			entries = append(entries, entry{value: m})
		}
		return entries, err
	case "hash":
		fields, err := c.redis.HGetAll(ctx, key).Result()
		for id, v := range fields {
			entries = append(entries, entry{id: id, value: v})
		}
		return entries, err
	}
	return nil, wrongTypeError{kind}
}

// strings reads the strings whose keys begin with prefix. Keys of other types are no instances.
func (c *Client) strings(ctx context.Context, prefix string) ([]entry, error) {
	keys, err := c.scan(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for len(keys) > 0 {
		n := min(len(keys), mgetKeys)
		values, err := c.redis.MGet(ctx, keys[:n]...).Result()
		if err != nil {
			return nil, err
		}
		for i, v := range values {
			// Not a string: it has expired since the scan, or it is of another type.
			if text, ok := v.(string); ok && i < n {
				entries = append(entries, entry{id: keys[i][len(prefix):], value: text})
			}
		}
		keys = keys[n:]
	}
	return entries, nil
}

// scan finds the keys that begin with prefix, each once. A key that is there all the time is
// found, whatever else changes meanwhile (https://redis.io/docs/latest/commands/scan/).
func (c *Client) scan(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	seen := map[string]bool{}
	cursor := uint64(0)
	for range maxScans {
		page, next, err := c.redis.Scan(ctx, cursor, escape(prefix)+"*", scanCount).Result()
		if err != nil {
			return nil, err
		}
		for _, key := range page {
			// The key that is the prefix itself names no instance.
			if len(key) > len(prefix) && strings.HasPrefix(key, prefix) && !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
		if len(keys) > maxInstances {
			return nil, errTooMany
		}
		if cursor = next; cursor == 0 {
			return keys, nil
		}
	}
	return nil, errTooWide
}

// escape makes a pattern of SCAN and PSUBSCRIBE that matches only s.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// caughtUp fails when the server is a replica without its master's data: unless it is told
// otherwise (replica-serve-stale-data) it answers all the same, from what it has. A user that
// may not ask has to believe it.
func (c *Client) caughtUp(ctx context.Context) error {
	role, err := c.redis.Do(ctx, "ROLE").Slice()
	var refused redis.Error
	if errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	// "slave", the master's host and port, the state of the link, and the offset.
	if len(role) >= 4 && role[0] == "slave" && role[3] != "connected" {
		return errNotReady
	}
	return nil
}
