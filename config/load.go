package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// mostBytes is how large a configuration file may be.
const mostBytes = 1 << 20

// Load reads the file at path and the environment, which is a list of NAME=value as os.Environ
// returns it. With the path "" there is only the environment. An error is an *Errors that holds
// every mistake.
func Load(path string, env []string) (*Config, error) {
	return newLoader(path).loadFile(env)
}

// Parse is Load of a file that is in memory already; name is how messages call it.
func Parse(name string, data []byte, env []string) (*Config, error) {
	return newLoader(name).load(data, env)
}

var (
	errFolder   = errors.New("is a folder")
	errTooLarge = errors.New("is too large")
)

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errFolder
	}
	data, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(data) > mostBytes {
		err = errTooLarge
	}
	return data, err
}

// fileMessage says why a file cannot be read, and what to do next.
func fileMessage(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file; check the path, or begin with a copy of config.toml.example"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("may not be read by uid %d, which runs this; change its owner or mode, and those of the folders above it", os.Getuid())
	case errors.Is(err, errFolder):
		return fmt.Sprintf("is a folder; name the file in it, such as %s", filepath.Join(path, "config.toml"))
	case errors.Is(err, errTooLarge):
		return fmt.Sprintf("has more than %d MiB; is it a configuration at all?", mostBytes>>20)
	case errors.Is(err, syscall.ENOTDIR):
		return "there is no such file: what stands before the last / is not a folder; check the path"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Sprintf("cannot be read: %v; check the path and the disk", err)
}

// A loader collects what one load finds. It is used once.
type loader struct {
	file     string
	schema   *schema
	problems []Problem
	// incomplete is set when parts of the file could not be read: what is missing is then
	// not reported as missing.
	incomplete bool

	outside   layer // what variables of others say
	root      scope
	defaults  scope
	services  collection
	registers collection
}

// A collection is what was set for one list of tables: [[service]] or [[register]].
type collection struct {
	fields *field // of a table; its key is that of the list
	prefix string // of variables: "SIDECAR_SERVICE_"
	needs  string // the key without which the environment alone makes none
	scopes []*scope
}

// A scope is what was set for one table of the file: the root, [defaults], a service or an
// announcement.
type scope struct {
	fields *field // what may be set
	prefix string // of Problem.Key: "service[0]."
	name   string // of the service or announcement, as far as it is known
	needs  string // as its collection has it
	line   int    // of its header; 0 when the file does not have it
	file   layer
	env    layer
}

func newLoader(file string) *loader {
	s := newSchema()
	l := &loader{file: file, schema: s}
	l.root = newScope(s.root, "")
	l.defaults = newScope(s.defaults, "defaults.")
	l.services = collection{fields: s.service, prefix: oursService, needs: "listen"}
	l.registers = collection{fields: s.register, prefix: oursRegister, needs: "port"}
	return l
}

func newScope(fields *field, prefix string) scope {
	return scope{fields: fields, prefix: prefix, file: make(layer), env: make(layer)}
}

// scope makes the scope of another item; prefix is that of Problem.Key.
func (c *collection) scope(prefix string) *scope {
	s := newScope(c.fields, prefix)
	s.needs = c.needs
	return &s
}

// start is where an item of a list of tables begins; what it lacks is reported there.
func (s *scope) start() origin {
	if s.line == 0 {
		return s.env[s.needs].origin
	}
	return origin{line: s.line}
}

// loadFile is load of the loader's file; without one there is only the environment.
func (l *loader) loadFile(env []string) (*Config, error) {
	if l.file == "" {
		return l.load(nil, env)
	}
	data, err := readFile(l.file)
	if err != nil {
		l.incomplete = true
		l.problems = append(l.problems, Problem{File: l.file, Message: fileMessage(l.file, err)})
		data = nil
	}
	return l.load(data, env)
}

func (l *loader) load(data []byte, env []string) (*Config, error) {
	doc := readDocument(l.file, data)
	l.problems = append(l.problems, doc.problems...)
	l.incomplete = l.incomplete || len(doc.problems) > 0

	l.readFileTables(doc)
	l.outside = l.readEnvironment(env)
	cfg, err := l.build(l.outside)
	if err != nil { // a mistake of this package, not of the user
		l.problems = append(l.problems, Problem{File: l.file, Message: err.Error()})
	}
	if len(l.problems) > 0 {
		return nil, &Errors{Problems: sortProblems(l.problems)}
	}
	return cfg, nil
}

// report adds a problem with a value of scope s; path is that of the key in the scope.
func (l *loader) report(s *scope, o origin, path string, m *mistake) {
	p := Problem{
		Variable:   o.variable,
		Key:        s.prefix + path,
		Message:    m.message,
		Suggestion: m.suggestion,
	}
	if s.fields == l.schema.register {
		p.Register = s.name
	} else {
		p.Service = s.name
	}
	if o.variable == "" {
		p.File, p.Line = l.file, o.line
	}
	l.problems = append(l.problems, p)
}

// build merges the layers, decodes them and applies the rules that look at several keys.
func (l *loader) build(fallback layer) (*Config, error) {
	cfg := new(Config)
	root := layers{fallback, l.root.file, l.root.env}
	if err := root.decode(l.root.fields.leaves(), cfg); err != nil {
		return nil, err
	}
	l.rootRules(cfg, fallback)

	for _, s := range l.services.scopes {
		ls := layers{l.defaults.file, l.defaults.env, s.file, s.env}
		var svc Service
		if err := ls.decode(l.schema.service.leaves(), &svc); err != nil {
			return nil, err
		}
		l.serviceRules(cfg, &svc, s, ls)
		cfg.Services = append(cfg.Services, svc)
	}
	for _, s := range l.registers.scopes {
		var reg Register
		if err := (layers{s.file, s.env}).decode(l.schema.register.leaves(), &reg); err != nil {
			return nil, err
		}
		l.registerRules(&reg, s)
		cfg.Registers = append(cfg.Registers, reg)
	}
	l.nameRules(&l.services)
	l.nameRules(&l.registers)
	l.idRules(cfg)
	l.listenRules(cfg, root)
	return cfg, nil
}
