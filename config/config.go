package config

import "time"

// The tags of a field are its schema; schema.go reads them:
//
//	key       the key in the file
//	default   the value without any other, as it would stand in an environment variable
//	allowed   the words it may be, separated by |
//	later     words that are known, but belong to a later version
//	min, max  the range, both included; a duration is 0s or more when nothing else is said
//	check     the name of a further check, see check.go and checkhttp.go
//	fallback  a variable that gives the default, see doc.go
//	doc       what it is, in one line

// Config is a complete and valid configuration. It is never changed after it was loaded.
type Config struct {
	Admin   Admin   `key:"admin" doc:"The interface for the operator."`
	Log     Log     `key:"log" doc:"The log, on standard error."`
	Runtime Runtime `key:"runtime" doc:"The process."`
	Consul  Consul  `key:"consul" doc:"The Consul agent that services are looked up in."`

	AccessLog AccessLog `key:"access_log" doc:"The access log: a line for each request of protocol http."`

	// Services are in the order of the file; those that only the environment names come
	// last, sorted by name. Each has its own values, [defaults] included. There may be none.
	Services []Service `key:"service" doc:"A service that is reached through this sidecar."`
}

// Admin is the interface for the operator.
type Admin struct {
	// Listen is the zero Address when the interface is off.
	Listen Address `key:"listen" default:"127.0.0.1:9901" doc:"ip:port or unix:/path; empty: off"`
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

// Runtime is about the process.
type Runtime struct {
	Loops    int           `key:"loops" default:"0" min:"0" max:"1024" doc:"event loop threads; 0: one per CPU"`
	StateDir string        `key:"state_dir" default:"" fallback:"STATE_DIRECTORY" doc:"folder for the last good instance sets; empty: none; default from $STATE_DIRECTORY"`
	Drain    time.Duration `key:"drain" default:"30s" doc:"how long a stop waits for what is running; 0s: not at all"`
	Zone     string        `key:"zone" default:"" check:"zone" doc:"the zone that this host is in, as instances name theirs; empty: zones are not looked at"`
}

// Consul is how the registry is reached.
type Consul struct {
	// Address is "host:port" or "unix:///path" once loaded: the scheme went into TLS.Enabled.
	Address     string    `key:"address" default:"127.0.0.1:8500" check:"consul" fallback:"CONSUL_HTTP_ADDR" doc:"host:port, http(s)://host:port or unix:///path; default from $CONSUL_HTTP_ADDR"`
	Token       Secret    `key:"token" default:"" fallback:"CONSUL_HTTP_TOKEN" doc:"ACL token, better kept in token_file; default from $CONSUL_HTTP_TOKEN"`
	TokenFile   string    `key:"token_file" default:"" fallback:"CONSUL_HTTP_TOKEN_FILE" doc:"file with the token, read again on change; default from $CONSUL_HTTP_TOKEN_FILE"`
	Datacenter  string    `key:"datacenter" default:"" doc:"empty: that of the agent"`
	Consistency string    `key:"consistency" default:"stale" allowed:"default|stale|consistent" doc:"stale: any server answers, with or without a leader"`
	TLS         ConsulTLS `key:"tls" doc:"TLS to the agent."`
}

// ConsulTLS is TLS to the Consul agent. It is on when enabled is true, when the address begins
// with https://, and when any other key of the table is set, unless enabled is written as false
// or the address begins with http://. Enabled holds the outcome.
type ConsulTLS struct {
	Enabled    bool   `key:"enabled" default:"false" doc:"true by itself with https:// or another key of this table"`
	CAFile     string `key:"ca_file" default:"" doc:"PEM file of the authorities to trust; empty: the system's"`
	CertFile   string `key:"cert_file" default:"" doc:"PEM file of the client certificate; needs key_file"`
	KeyFile    string `key:"key_file" default:"" doc:"PEM file of the client certificate's key"`
	ServerName string `key:"server_name" default:"" doc:"name that the agent's certificate must have; empty: the host of address"`
}
