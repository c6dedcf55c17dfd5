package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// nginxProcess is what the outermost part of an nginx configuration says.
type nginxProcess struct {
	workers  int
	core     int // anyCore, or where its one worker is pinned
	maxConns int
	module   string // path of a module to load, or empty
}

// nginxMain returns the part of an nginx configuration before its http or stream block.
func nginxMain(n nginxProcess) string {
	var c strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&c, format+"\n", args...) }

	if n.module != "" {
		line("load_module %s;", n.module)
	}
	if os.Geteuid() == 0 {
		line("user root;") // another user could not enter the temporary folder
	}
	line("daemon off;")
	line("pid nginx.pid;")
	line("error_log stderr error;")
	line("worker_processes %d;", n.workers)
	if n.core != anyCore {
		line("worker_cpu_affinity 1%s;", strings.Repeat("0", n.core)) // a mask, core 0 on the right
	}
	// Half of its connections may be to the origin.
	line("worker_rlimit_nofile %d;", 2*n.maxConns+100)
	line("events { worker_connections %d; }", 2*n.maxConns)
	return c.String()
}

const nginxTempPaths = `client_body_temp_path body;
	proxy_temp_path       proxy;
	fastcgi_temp_path     fastcgi;
	uwsgi_temp_path       uwsgi;
	scgi_temp_path        scgi;`

// startNginx starts an nginx with a configuration and a folder of its own.
func startNginx(b *bench, name, config string) (*process, error) {
	dir, path, err := b.writeConfig(name, "nginx.conf", config)
	if err != nil {
		return nil, err
	}
	return b.start(name, anyCore, b.bin.nginx, "-p", dir, "-e", "stderr", "-c", path)
}

func launchNginx(b *bench, s setting) (*running, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	main := nginxProcess{workers: s.loops, core: s.core, maxConns: s.maxConns}
	var block string
	if s.http {
		block = nginxHTTP(addr, s)
	} else {
		main.module = b.bin.streamModule
		block = nginxStream(addr, s)
	}
	p, err := startNginx(b, "nginx", nginxMain(main)+block)
	if err != nil {
		return nil, err
	}
	r := &running{addr: addr, proc: p}
	err = b.until(p, func() error {
		if err := dialable(addr); err != nil {
			return err
		}
		// The master only waits: the workers are the proxy.
		if r.pids, err = children(p.pid()); err == nil && len(r.pids) != s.loops {
			err = fmt.Errorf("%d workers", len(r.pids))
		}
		return err
	})
	return r, err
}

// nginxLarge keeps a large body in memory, in buffers of a useful size: the
// default are eight of a page, and then a file.
const nginxLarge = `proxy_buffers            16 64k;
			proxy_busy_buffers_size  256k;
			proxy_max_temp_file_size 0;`

const (
	nginxPass = `proxy_pass         http://origin;
			proxy_http_version 1.1;
			proxy_set_header   Connection "";
			proxy_set_header   X-Forwarded-For $proxy_add_x_forwarded_for;`
	nginxCallPass = `grpc_pass       grpc://origin;
			grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;`
)

func nginxHTTP(addr string, s setting) string {
	more, how, secure, pass := "", "", "", nginxPass
	if s.large {
		more = nginxLarge
	}
	if s.h2 || s.grpc {
		how = " http2" // obsolete from 1.25 on, and understood
	}
	if s.grpc {
		pass = nginxCallPass
	}
	if s.cert != nil {
		how = " ssl"
		secure = fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3; ssl_conf_command Ciphersuites %s;",
			s.cert.certFile, s.cert.keyFile, tlsSuite)
	}
	return fmt.Sprintf(`
http {
	access_log         off;
	keepalive_timeout  600s;
	keepalive_requests 1000000000;
	%s
	upstream origin {
		server             %s;
		keepalive          512;
		keepalive_timeout  600s;
		keepalive_requests 1000000000;
	}
	server {
		listen %s%s backlog=4096;
		%s
		location / {
			%s
			%s
		}
	}
}
`, nginxTempPaths, s.origin, addr, how, secure, pass, more)
}

func nginxStream(addr string, s setting) string {
	return fmt.Sprintf(`
stream {
	access_log  off;
	tcp_nodelay on;
	server {
		listen            %s backlog=4096;
		proxy_pass        %s;
		proxy_buffer_size 64k;
		proxy_timeout     10m;
	}
}
`, addr, s.origin)
}

// findStreamModule says whether this nginx can proxy TCP, and which module makes it.
func findStreamModule(nginx, asked string) (module string, ok bool) {
	if asked != "" {
		return asked, true
	}
	out, err := exec.Command(nginx, "-V").CombinedOutput()
	if err != nil {
		return "", false
	}
	fields := bytes.Fields(out)
	for _, f := range fields {
		if string(f) == "--with-stream" {
			return "", true
		}
	}
	for _, f := range fields {
		dir, found := bytes.CutPrefix(f, []byte("--modules-path="))
		if !found {
			continue
		}
		path := string(dir) + "/ngx_stream_module.so"
		if _, err := os.Stat(path); err == nil {
			return path, true
		}
	}
	return "", false
}
