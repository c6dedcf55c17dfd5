package config

import "time"

// The tags of a field are its schema; schema.go reads them. The keys of an embedded struct are
// those of the struct it is embedded in.
//
//	key       the key in the file
//	default   the value without any other, as it would stand in an environment variable
//	allowed   the words it may be, separated by |
//	later     words that are known, but belong to a later version; or "true" when the key does, or the
//	          table with all its keys: it has its default then, and whoever sets it is told
//	min, max  the range, both included; a duration is 0s or more when nothing else is said
//	check     the name of a further check, see check.go, checkhttp.go, checkregistry.go and checktransport.go
//	fallback  a variable that gives the default, see doc.go
//	doc       what it is, in one line

// Config is a complete and valid configuration. It is never changed after it was loaded.
type Config struct {
	Admin   Admin   `key:"admin" doc:"The interface for the operator."`
	Log     Log     `key:"log" doc:"The log, on standard error."`
	Runtime Runtime `key:"runtime" doc:"The process."`
	Consul  Consul  `key:"consul" doc:"The Consul agent that services are looked up in and announced to."`

	// What follows is used by the services whose sources it belongs to, and Etcd by announcements.
	Etcd       Etcd       `key:"etcd" doc:"etcd, where services are looked up and announced."`
	Redis      Redis      `key:"redis" doc:"Redis, where services are looked up."`
	Nacos      Nacos      `key:"nacos" doc:"Nacos, where services are looked up."`
	Kubernetes Kubernetes `key:"kubernetes" doc:"The API server of Kubernetes, where services are looked up."`
	DNS        DNS        `key:"dns" doc:"How source dns looks up names."`

	Tracing   Tracing   `key:"tracing" doc:"Traces of requests of protocol http, as OpenTelemetry has them."`
	AccessLog AccessLog `key:"access_log" doc:"The access log: a line for each request of protocol http."`

	// Services are in the order of the file; those that only the environment names come
	// last, sorted by name. Each has its own values, [defaults] included. There may be none.
	Services []Service `key:"service" doc:"A service that is reached through this sidecar."`
	// Registers are in the same order. There may be none.
	Registers []Register `key:"register" doc:"A local service that is announced to a registry, for others to find."`
}

// Admin is the interface for the operator.
type Admin struct {
	// Listen is the zero Address when the interface is off.
	Listen Address `key:"listen" default:"127.0.0.1:9901" doc:"ip:port or unix:/path; empty: off"`
	// Actions holds for sockets of the network too; a unix socket is asked by its own permissions.
	Actions bool `key:"actions" default:"false" doc:"whoever reaches listen may stop the sidecar, and take endpoints out and back; with a unix socket its permissions decide, and this is for the page only"`
}

// Log says what is logged.
type Log struct {
	Level  string `key:"level" default:"info" allowed:"debug|info|warn|error" doc:"the least severe level that is written"`
	Format string `key:"format" default:"json" allowed:"json|console" doc:"form of a line"`
}

// AccessLog is the line that is written for each request. The variables of a format, and what
// a line of json has, are told by package accesslog.
type AccessLog struct {
	Path   string `key:"path" default:"" check:"log_path" doc:"stdout, stderr or a file that is appended to; empty: off"`
	Format string `key:"format" default:"json" check:"log_format" doc:"json, combined (as Apache and nginx have it), or a line such as '$client $method $path $status $flag'"`
	Buffer int    `key:"buffer" default:"1048576" min:"65536" max:"67108864" doc:"bytes per loop that may wait to be written; further lines are dropped and counted"`
}

// Tracing says which requests are traced, and who is told.
type Tracing struct {
	// Endpoint is empty when there is no tracing.
	Endpoint string  `key:"endpoint" default:"" check:"trace_url" doc:"where spans go by OTLP over HTTP, such as \"http://127.0.0.1:4318\"; empty: off"`
	Sample   float64 `key:"sample" default:"0.01" min:"0" max:"1" doc:"share of the requests that nobody has decided about; a client's own decision (traceparent) holds"`
	Service  string  `key:"service" default:"sidecar" check:"text" doc:"service.name of the spans"`
}

// Runtime is about the process.
type Runtime struct {
	Loops       int           `key:"loops" default:"0" min:"0" max:"1024" doc:"event loop threads; 0: one per CPU"`
	StateDir    string        `key:"state_dir" default:"" fallback:"STATE_DIRECTORY" doc:"folder for the last good instance sets; empty: none; default from $STATE_DIRECTORY"`
	Drain       time.Duration `key:"drain" default:"30s" doc:"how long a stop waits for what is running; 0s: not at all"`
	WatchConfig bool          `key:"watch_config" default:"false" doc:"reload when the configuration file changes, as on SIGHUP"`
	Zone        string        `key:"zone" default:"" check:"zone" doc:"the zone that this host is in, as instances name theirs; empty: zones are not looked at"`
}
