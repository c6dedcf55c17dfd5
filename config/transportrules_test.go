package config

import (
	"reflect"
	"testing"
	"time"
)

// loadComplete is load where every key is known already.
func loadComplete(t *testing.T, toml string, env ...string) *Config {
	t.Helper()
	cfg, err := complete().load([]byte(toml), env)
	if err != nil {
		t.Fatalf("load:\n%v", err)
	}
	return cfg
}

// testComplete is test where every key is known already. Nothing wanted is a right configuration.
func (e example) testComplete(t *testing.T) {
	t.Helper()
	t.Run(e.name, func(t *testing.T) {
		got := ""
		if _, err := complete().load([]byte(e.toml), nil); err != nil {
			got = err.Error()
		}
		if got != e.want {
			t.Errorf("\n got: %s\nwant: %s", got, e.want)
		}
	})
}

const everyTransport = `
[[service]]
name = "web"
listen = "0.0.0.0:443"
upstream_protocol = "h2c"
accept_proxy_from = ["10.0.0.0/8", "2001:db8::/32"]
retry.on = ["refused-stream", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable", "503"]
[service.tls]
cert_files = ["/etc/a.crt", "/etc/b.crt"]
key_files = ["/etc/both.key", "/etc/both.key"]
client_ca_file = "/etc/ca.crt"
client_auth = "required"
client_names = ["*.clients.internal"]
min_version = "1.3"
[service.upstream_tls]
enabled = true
ca_file = "/etc/upstream.crt"
cert_file = "/etc/own.crt"
key_file = "/etc/own.key"
server_name = "orders.internal"
min_version = "1.3"
[service.http2]
max_streams = 100
header_list = 1024
window = 65535
connection_window = 65535
ping = "1s"
[[service]]
name = "db"
listen = "127.0.0.1:5432"
protocol = "tcp"
send_proxy = "v2"
sni = ["DB.example", "*.db.example"]
[service.upstream_tls]
enabled = true
dangerously_skip_verification = true
`

func TestTransportOfEveryForm(t *testing.T) {
	cfg := loadComplete(t, everyTransport)
	web, db := cfg.Services[0], cfg.Services[1]
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"protocol with endpoints", []string{web.UpstreamProtocol, db.UpstreamProtocol}, []string{UpstreamH2C, UpstreamAuto}},
		{"PROXY header from", web.AcceptProxyFrom, []string{"10.0.0.0/8", "2001:db8::/32"}},
		{"PROXY header to", []string{web.SendProxy, db.SendProxy}, []string{SendProxyOff, SendProxyV2}},
		{"names", db.SNI, []string{"db.example", "*.db.example"}},
		{"retries", web.Retry.On, []string{
			RetryRefusedStream, RetryCancelled, RetryDeadlineExceeded, RetryInternal, RetryResourceExhausted, RetryUnavailable, "503",
		}},
		{"TLS with clients", web.TLS, TLS{
			CertFiles: []string{"/etc/a.crt", "/etc/b.crt"}, KeyFiles: []string{"/etc/both.key", "/etc/both.key"},
			ClientCAFile: "/etc/ca.crt", ClientAuth: ClientAuthRequired, ClientNames: []string{"*.clients.internal"}, MinVersion: TLS13,
		}},
		{"TLS with endpoints", web.UpstreamTLS, UpstreamTLS{
			Enabled: true, CAFile: "/etc/upstream.crt", CertFile: "/etc/own.crt", KeyFile: "/etc/own.key", ServerName: "orders.internal", MinVersion: TLS13,
		}},
		{"TLS without verification", db.UpstreamTLS, UpstreamTLS{Enabled: true, DangerouslySkipVerification: true, MinVersion: TLS12}},
		{"HTTP/2", web.HTTP2, HTTP2{MaxStreams: 100, HeaderList: 1024, Window: 65535, ConnectionWindow: 65535, Ping: time.Second}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, tt.got, tt.want)
		}
	}
	l := complete()
	text := cfg.redacted(l.schema)
	again, err := l.load([]byte(text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(again, cfg) {
		t.Errorf("\n got %+v\nwant %+v\nfrom %s", again, cfg, text)
	}
}

func TestTransportFromTheEnvironment(t *testing.T) {
	svc := loadComplete(t, orders,
		"SIDECAR_SERVICE_ORDERS_TLS_CERT_FILES=/a.crt,/b.crt", "SIDECAR_SERVICE_ORDERS_TLS_KEY_FILES=/k,/k",
		"SIDECAR_SERVICE_ORDERS_UPSTREAM_TLS_MIN_VERSION=1.3", "SIDECAR_DEFAULTS_UPSTREAM_TLS_ENABLED=true",
		"SIDECAR_DEFAULTS_HTTP2_WINDOW=2000000", "SIDECAR_SERVICE_ORDERS_UPSTREAM_PROTOCOL=http1").Services[0]
	if len(svc.TLS.CertFiles) != 2 || len(svc.TLS.KeyFiles) != 2 || svc.TLS.MinVersion != TLS12 {
		t.Errorf("TLS with clients: %+v", svc.TLS)
	}
	if !svc.UpstreamTLS.Enabled || svc.UpstreamTLS.MinVersion != TLS13 || svc.UpstreamProtocol != UpstreamHTTP1 {
		t.Errorf("TLS with endpoints: %+v, %s", svc.UpstreamTLS, svc.UpstreamProtocol)
	}
	if svc.HTTP2.Window != 2000000 || svc.HTTP2.ConnectionWindow != 2000000 {
		t.Errorf("windows: %+v", svc.HTTP2)
	}
}

func TestTransportThatContradictsItself(t *testing.T) {
	const tcp = orders + "protocol = \"tcp\"\n"
	for _, e := range []example{
		{
			"HTTP/2 with tcp",
			tcp + "upstream_protocol = \"h2c\"\nhttp2.ping = \"1s\"",
			`config.toml:5: service "orders": upstream_protocol: is for protocol = "http" only, and protocol is "tcp"; change it or remove this
config.toml:6: service "orders": http2.ping: is for protocol = "http" only, and protocol is "tcp"; change it or remove this`,
		},
		{
			"keys of tcp with http",
			orders + "send_proxy = \"v1\"\nsni = [\"a.example\"]",
			`config.toml:4: service "orders": send_proxy: is for protocol = "tcp" only, and protocol is "http"; change it or remove this
config.toml:5: service "orders": sni: are for protocol = "tcp" only, and protocol is "http"; change it or remove them`,
		},
		{
			"windows out of order",
			orders + "[service.http2]\nwindow = 70000\nconnection_window = 65535\nping = \"10ms\"",
			`config.toml:5: service "orders": http2.window: is 70000, more than http2.connection_window with 65535 (line 6)
config.toml:7: service "orders": http2.ping: "10ms" is too short; want 0s, or 1s or more`,
		},
		{
			"a network for clients without addresses",
			"[[service]]\nname = \"orders\"\nlisten = \"unix:/run/x\"\naccept_proxy_from = [\"10.0.0.0/8\"]",
			`config.toml:4: service "orders": accept_proxy_from: are addresses of clients, and clients of unix sockets have none; listen on ip:port, or remove them`,
		},
		{
			"a network for some clients",
			"[[service]]\nname = \"orders\"\nlisten = [\"unix:/run/x\", \"127.0.0.1:1\"]\naccept_proxy_from = [\"10.0.0.0/8\"]", "",
		},
		{
			"keys of TLS without certificates",
			orders + "[service.tls]\nkey_files = [\"/a.key\"]\nclient_ca_file = \"/ca\"\nclient_auth = \"required\"\nclient_names = [\"a\"]\nmin_version = \"1.3\"",
			`config.toml:5: service "orders": tls.key_files: are for TLS with clients, which needs cert_files; set these or remove them
config.toml:6: service "orders": tls.client_ca_file: is for TLS with clients, which needs cert_files; set these or remove this
config.toml:7: service "orders": tls.client_auth: is for TLS with clients, which needs cert_files; set these or remove this
config.toml:8: service "orders": tls.client_names: are for TLS with clients, which needs cert_files; set these or remove them
config.toml:9: service "orders": tls.min_version: is for TLS with clients, which needs cert_files; set these or remove this`,
		},
		{
			"certificates without keys",
			orders + "[service.tls]\ncert_files = [\"/a.crt\"]",
			`config.toml:5: service "orders": tls.cert_files: are set without key_files; each certificate needs its key, in the same order`,
		},
		{
			"fewer keys than certificates",
			orders + "[service.tls]\ncert_files = [\"/a.crt\", \"/b.crt\"]\nkey_files = [\"/a.key\"]",
			`config.toml:6: service "orders": tls.key_files: are 1, and cert_files are 2 (line 5); each certificate needs its key, in the same order`,
		},
		{
			"bad keys hide what follows from them",
			orders + "[service.tls]\ncert_files = [\"/a.crt\", \"/a.crt\"]\nkey_files = [\" \"]",
			`config.toml:5: service "orders": tls.cert_files: "/a.crt" is listed twice
config.toml:6: service "orders": tls.key_files: " " is empty or has blanks around it`,
		},
		{
			"certificates of clients without authorities",
			orders + "[service.tls]\ncert_files = [\"/a.crt\"]\nkey_files = [\"/a.key\"]\nclient_auth = \"optional\"",
			`config.toml:7: service "orders": tls.client_auth: is "optional", which needs client_ca_file`,
		},
		{
			"authorities and names without certificates of clients",
			orders + "[service.tls]\ncert_files = [\"/a.crt\"]\nkey_files = [\"/a.key\"]\nclient_ca_file = \"/ca\"\nclient_names = [\"a\"]",
			`config.toml:7: service "orders": tls.client_ca_file: is for client_auth = "optional" or "required" only, and client_auth is "off"; change it or remove this
config.toml:8: service "orders": tls.client_names: are for client_auth = "optional" or "required" only, and client_auth is "off"; change it or remove them`,
		},
		{
			"keys of TLS with endpoints that is off",
			orders + "[service.upstream_tls]\nca_file = \"/ca\"\ncert_file = \"/c\"\nkey_file = \"/k\"\nserver_name = \"a\"\ndangerously_skip_verification = true\nmin_version = \"1.3\"",
			`config.toml:5: service "orders": upstream_tls.ca_file: is for TLS with endpoints, which is off; set enabled = true, or remove this
config.toml:6: service "orders": upstream_tls.cert_file: is for TLS with endpoints, which is off; set enabled = true, or remove this
config.toml:7: service "orders": upstream_tls.key_file: is for TLS with endpoints, which is off; set enabled = true, or remove this
config.toml:8: service "orders": upstream_tls.server_name: is for TLS with endpoints, which is off; set enabled = true, or remove this
config.toml:9: service "orders": upstream_tls.dangerously_skip_verification: is for TLS with endpoints, which is off; set enabled = true, or remove this
config.toml:10: service "orders": upstream_tls.min_version: is for TLS with endpoints, which is off; set enabled = true, or remove this`,
		},
		{
			"bad enabled hides what follows from it",
			orders + "[service.upstream_tls]\nenabled = \"on\"\nca_file = \"/ca\"",
			`config.toml:5: service "orders": upstream_tls.enabled: want true or false, got the string "on"`,
		},
		{
			"a certificate without its key, and authorities for nothing",
			orders + "[service.upstream_tls]\nenabled = true\nca_file = \"/ca\"\ncert_file = \"/c\"\ndangerously_skip_verification = true",
			`config.toml:6: service "orders": upstream_tls.ca_file: has nothing to do, since dangerously_skip_verification is true (line 8); remove one of them
config.toml:7: service "orders": upstream_tls.cert_file: is set without key_file; set both or none`,
		},
		{
			"names for TLS that ends here",
			tcp + "sni = [\"a.example\"]\n[service.tls]\ncert_files = [\"/a.crt\"]\nkey_files = [\"/a.key\"]",
			`config.toml:5: service "orders": sni: are for TLS that passes through, and tls.cert_files (line 7) end it here; remove one of them`,
		},
		{
			"endpoints without a name to prove",
			tcp + "[service.discovery]\nsource = \"static\"\ninstances = [\"10.0.0.1:1\", \"unix:/a weight=2\", \"unix:/b\"]\n" +
				"[service.fallback]\ninstances = [\"unix:/c\"]\n[service.upstream_tls]\nenabled = true",
			`config.toml:7: service "orders": discovery.instances: "unix:/a" has no host that its certificate could be for; set upstream_tls.server_name
config.toml:9: service "orders": fallback.instances: "unix:/c" has no host that its certificate could be for; set upstream_tls.server_name`,
		},
		{
			"a name twice",
			tcp + "sni = [\"a.example\", \"A.Example\"]",
			`config.toml:5: service "orders": sni: "a.example" is listed twice`,
		},
		{
			"numbers out of range",
			orders + "[service.http2]\nmax_streams = 0\nheader_list = 100\nwindow = 65534\nconnection_window = 268435457",
			`config.toml:5: service "orders": http2.max_streams: 0 is out of range; want 1 to 100000
config.toml:6: service "orders": http2.header_list: 100 is out of range; want 1024 to 1048576
config.toml:7: service "orders": http2.window: 65534 is out of range; want 65535 to 16777216
config.toml:8: service "orders": http2.connection_window: 268435457 is out of range; want 65535 to 268435456`,
		},
		{
			"words",
			tcp + "send_proxy = \"v3\"\n[service.tls]\nmin_version = \"1.1\"\nclient_auth = \"on\"",
			`config.toml:5: service "orders": send_proxy: "v3" is not known; allowed are off, v1 and v2; did you mean "v1"?
config.toml:7: service "orders": tls.min_version: "1.1" is not known; allowed are 1.2 and 1.3; did you mean "1.2"?
config.toml:8: service "orders": tls.client_auth: "on" is not known; allowed are off, optional and required`,
		},
		{
			"retries",
			orders + "retry.on = [\"unavailible\", \"aborted\"]",
			`config.toml:4: service "orders": retry.on: "unavailible" is not known; allowed are connect, reset, refused-stream, timeout, cancelled, deadline-exceeded, internal, resource-exhausted, unavailable and statuses from 500 to 599; did you mean "unavailable"?
config.toml:4: service "orders": retry.on: "aborted" is not known; allowed are connect, reset, refused-stream, timeout, cancelled, deadline-exceeded, internal, resource-exhausted, unavailable and statuses from 500 to 599`,
		},
	} {
		e.testComplete(t)
	}
}

func TestTransportOfDefaultsThatIsForOthersIsDropped(t *testing.T) {
	const defaults = `
[defaults]
upstream_protocol = "h2c"
send_proxy = "v2"
sni = ["a.example"]
accept_proxy_from = ["10.0.0.0/8"]
http2.max_streams = 7
[defaults.tls]
key_files = ["/a.key"]
client_auth = "required"
client_ca_file = "/ca"
client_names = ["a"]
min_version = "1.3"
[defaults.upstream_tls]
ca_file = "/upstream"
server_name = "a"
min_version = "1.3"
`
	const services = `
[[service]]
name = "plain"
listen = "unix:/run/plain"
[[service]]
name = "db"
listen = "127.0.0.1:2"
protocol = "tcp"
[[service]]
name = "secure"
listen = "127.0.0.1:3"
tls.cert_files = ["/a.crt"]
upstream_tls.enabled = true
upstream_tls.dangerously_skip_verification = true
[[service]]
name = "open"
listen = "127.0.0.1:4"
protocol = "tcp"
tls = { cert_files = ["/a.crt"], client_auth = "off" }
`
	cfg := loadComplete(t, defaults+services)
	plain, db, secure, open := cfg.Services[0], cfg.Services[1], cfg.Services[2], cfg.Services[3]
	off := TLS{ClientAuth: ClientAuthOff, MinVersion: TLS12}
	files := TLS{CertFiles: []string{"/a.crt"}, KeyFiles: []string{"/a.key"}, ClientAuth: ClientAuthOff, MinVersion: TLS13}
	checked := files
	checked.ClientAuth, checked.ClientCAFile, checked.ClientNames = ClientAuthRequired, "/ca", []string{"a"}
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"TLS of nobody", []any{plain.TLS.ClientAuth, plain.TLS.MinVersion, len(plain.TLS.KeyFiles), len(plain.TLS.ClientNames)}, []any{off.ClientAuth, off.MinVersion, 0, 0}},
		{"TLS", secure.TLS, checked},
		{"TLS without certificates of clients", []any{open.TLS.ClientCAFile, len(open.TLS.ClientNames), open.TLS.MinVersion}, []any{"", 0, TLS13}},
		{"TLS with endpoints that is off", plain.UpstreamTLS, UpstreamTLS{MinVersion: TLS12}},
		{"TLS with endpoints", secure.UpstreamTLS, UpstreamTLS{Enabled: true, DangerouslySkipVerification: true, ServerName: "a", MinVersion: TLS13}},
		{"protocol with endpoints", []string{plain.UpstreamProtocol, db.UpstreamProtocol}, []string{UpstreamH2C, UpstreamAuto}},
		{"streams", []int{plain.HTTP2.MaxStreams, db.HTTP2.MaxStreams}, []int{7, 256}},
		{"PROXY header", []string{plain.SendProxy, db.SendProxy}, []string{SendProxyOff, SendProxyV2}},
		{"networks", []int{len(plain.AcceptProxyFrom), len(db.AcceptProxyFrom)}, []int{0, 1}},
		{"names", []int{len(plain.SNI), len(db.SNI), len(open.SNI)}, []int{0, 1, 0}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, tt.got, tt.want)
		}
	}
}
