package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// decode turns a file into nested any, []any and map[string]any, whichever format it has.
func decode(ext string, data []byte) (any, error) {
	var decoder func([]byte) (any, error)
	switch strings.ToLower(ext) {
	case ".json":
		decoder = decodeJSON
	case ".toml":
		decoder = decodeTOML
	default:
		return nil, fmt.Errorf("its name ends in %q; rename it to .json or .toml, as what is in it", ext)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // what some editors put before the text
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errEmpty
	}
	return decoder(data)
}

func decodeTOML(data []byte) (any, error) {
	var top map[string]any
	err := toml.Unmarshal(data, &top)
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, column := wrong.Position()
		return nil, fmt.Errorf("line %d, column %d: %w; correct it", line, column, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; correct it", err)
	}
	if len(top) == 0 {
		return nil, errEmpty // comments only
	}
	return top, nil
}

func decodeJSON(data []byte) (any, error) {
	var whole json.RawMessage
	err := json.Unmarshal(data, &whole) // finds what is no JSON, and what is nested too deeply
	var wrong *json.SyntaxError
	if errors.As(err, &wrong) {
		line, column := position(data, int(wrong.Offset)-1)
		return nil, fmt.Errorf("line %d, column %d: %w; correct it", line, column, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; correct it", err)
	}
	r := jsonReader{json.NewDecoder(bytes.NewReader(data)), data}
	r.UseNumber() // 1e400 and 8080.0 are for whoever knows what is wanted
	return r.value()
}

// position is line and column of a byte, from 1.
func position(data []byte, offset int) (line, column int) {
	before := data[:min(max(offset, 0), len(data))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}

// A jsonReader reads text that is known to be JSON. Other than json.Unmarshal it refuses keys
// that are there twice: one list of instances would be lost without a word.
type jsonReader struct {
	*json.Decoder
	data []byte
}

func (r *jsonReader) value() (any, error) {
	token, err := r.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for r.More() {
			v, err := r.value()
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = r.Token()
		return list, err
	case json.Delim('{'):
		return r.table()
	}
	return token, nil
}

func (r *jsonReader) table() (any, error) {
	table := map[string]any{}
	for r.More() {
		token, err := r.Token()
		if err != nil {
			return nil, err
		}
		key := fmt.Sprint(token)
		if _, ok := table[key]; ok {
			line, column := position(r.data, int(r.InputOffset())-len(`""`)-len(key))
			return nil, fmt.Errorf("line %d, column %d: the key %s is there twice; correct it", line, column, quoted(key))
		}
		if table[key], err = r.value(); err != nil {
			return nil, err
		}
	}
	_, err := r.Token()
	return table, err
}
