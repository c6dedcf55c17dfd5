package config

import "time"

// TLS ends the TLS of clients on the addresses of Listen. It is on when CertFiles has any; the
// keys after it have their defaults otherwise.
type TLS struct {
	CertFiles []string `key:"cert_files" default:"" check:"filled" doc:"PEM files of certificates with their chains, chosen by the name that the client asks for, else the first; read again on change; empty: no TLS"`
	// KeyFiles is as long as CertFiles. Several certificates may have one key.
	KeyFiles []string `key:"key_files" default:"" check:"key_file" doc:"PEM files of their keys, in the same order"`
	// ClientCAFile is empty where ClientAuth is ClientAuthOff, and never otherwise.
	ClientCAFile string `key:"client_ca_file" default:"" check:"text" doc:"PEM file of the authorities that certificates of clients are from; read again on change"`
	ClientAuth   string `key:"client_auth" default:"off" allowed:"off|optional|required" doc:"whether clients have a certificate; optional: one that is there is checked"`
	// ClientNames is empty where ClientAuth is ClientAuthOff.
	ClientNames []string `key:"client_names" default:"" check:"certificate_name" doc:"DNS names or URIs, one of which a client's certificate must have as a subject alternative name, such as [\"*.orders.internal\"]; common names do not count; empty: any"`
	MinVersion  string   `key:"min_version" default:"1.2" allowed:"1.2|1.3" doc:"of TLS"`
}

// UpstreamTLS is TLS to the endpoints. The keys after Enabled have their defaults where it is off.
type UpstreamTLS struct {
	Enabled bool   `key:"enabled" default:"false" doc:"speak TLS to endpoints"`
	CAFile  string `key:"ca_file" default:"" check:"text" doc:"PEM file of the authorities to trust, read again on change; empty: the system's"`
	// CertFile and KeyFile go together: both are set, or none.
	CertFile   string `key:"cert_file" default:"" check:"text" doc:"PEM file of the certificate shown to endpoints, read again on change; needs key_file"`
	KeyFile    string `key:"key_file" default:"" check:"text" doc:"PEM file of that certificate's key"`
	ServerName string `key:"server_name" default:"" check:"host_name" doc:"name that the certificates of endpoints must have; empty: the host of each one's address"`
	// DangerouslySkipVerification is never true together with CAFile.
	DangerouslySkipVerification bool   `key:"dangerously_skip_verification" default:"false" doc:"DANGER: take any certificate, so that whoever is on the way can read and change everything; for tests only"`
	MinVersion                  string `key:"min_version" default:"1.2" allowed:"1.2|1.3" doc:"of TLS"`
}

// HTTP2 bounds what one connection of HTTP/2 may do, with clients as well as with endpoints.
type HTTP2 struct {
	MaxStreams int `key:"max_streams" default:"256" min:"1" max:"100000" doc:"requests at once on one connection; a client's further ones are refused"`
	HeaderList int `key:"header_list" default:"65536" min:"1024" max:"1048576" doc:"bytes of a list of header fields, each counted with 32 more (RFC 9113 6.5.2)"`
	// Window is at most ConnectionWindow: of the two a default gives way to what was set.
	Window           int `key:"window" default:"262144" min:"65535" max:"16777216" doc:"bytes that may be under way to the sidecar on one stream"`
	ConnectionWindow int `key:"connection_window" default:"1048576" min:"65535" max:"268435456" doc:"the same on one connection, all its streams together"`
	// Ping is 0s or at least 1s.
	Ping time.Duration `key:"ping" default:"15s" doc:"silence, while streams are open, after which the other side is asked whether it is there; 0s: never"`
}
