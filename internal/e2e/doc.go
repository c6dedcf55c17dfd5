// Package e2e proves what the README promises, with the real binary: the sidecar is built once
// and started as a user starts it, in front of real HTTP and TCP servers, which a real Consul
// agent knows. There is nothing in it but tests.
//
// What is proven, by file:
//
//   - registry: a configuration of two lines serves a registered service; a new instance gets
//     traffic, one that has left gets none and loses its idle connections.
//   - outage: Consul goes away and comes back; the sidecar is there before Consul is.
//   - consul, consuloutage, consulnet, consuldisk: what happens to registries, to one of three
//     servers and an agent: killed, stopped, cut off, restored from a snapshot, with a token that
//     is no longer valid; no request fails, and changes arrive in less than 5 s afterwards.
//   - consulwrong: wrong input of operators and registries is told in status and log, once, and
//     drops nothing.
//   - source: the same for etcd, Redis, DNS, files and several sources of one service.
//   - register: local services are announced, and stop without a request that fails.
//   - h2, h2spec, grpc, grpcload, grpcfail, grpcdrain: HTTP/2 and gRPC, with grpc-go's clients and
//     servers, under load, restarted, killed, drained; HTTP/2 to the letter, by cases not ours.
//   - tls, proxyheader: TLS with clients and endpoints, renewed and refused; PROXY headers.
//   - crowd: hundreds of services, and a change in each of them.
//   - kill: instances killed with SIGKILL under load cost not one failed GET.
//   - drain: SIGTERM lets what is running end, for a bounded time; a second one does not.
//   - tcp: bytes both ways, ends of stream, dead instances, what becomes of sessions.
//   - health: health checks and breakers take an instance out and bring it back, and /status
//     says why.
//   - churn: many short connections leave descriptors, tasks and memory where they were.
//   - conformance: HTTP/1.1 to the letter, by cases that are not ours.
//   - idlerace: an origin that closes idle connections costs no request that may be repeated,
//     and none that may not is executed twice.
//   - large, slowreader: gigabytes pass byte for byte in constant memory, and who does not
//     read holds back the writer.
//   - upgrade, gone: tunnels; clients that go away.
//   - failing, slow: who fails fast, or is slow, gets no traffic for it.
//   - allfail: when all fail retries stay within their budget, and all have their share of the
//     traffic as soon as it is over.
//   - silent, netns, alone: one that is killed, stands still or has gone from the network fails
//     no GET, and delays few, once.
//   - limits, hedging: what is over a limit is refused at once; second copies and deadlines.
//   - fallback, spread: who serves when too few can; keys, zones and slow starts.
//   - explain: in each of these, that `sidecar explain` tells the cause in words.
//   - admin, commandline, operating, demo: what an operator sees, and does.
//   - page, pageactions: the page in a real Chromium: 0, 3 and 300 endpoints, keyboard, without
//     scripts, connection lost, hostile names, actions, attacks of other sites.
//   - reload, restart, sni: reloads and restarts under load; services that share a port.
//   - systemd, systemdnotify, systemdunit, systemdpackage: units and the package under a real
//     systemd where one can be started, else against a notify socket.
//   - tracing, emfile, pressure, logpipe: spans at a collector; what happens when descriptors, ports
//     or room in the log run out.
//
// Tests with lost packets make network namespaces, for which they need root and ip. Without
// these, or nsenter and unshare of util-linux, they are skipped, and say so to go test -v; .ci/run
// shows it.
//
// The requirements name times, such as "traffic within 1 s of passing". Tests wait much longer
// than that before they fail, for a machine may be busy with something else; how long it took
// is in the log (go test -v), which is where the figures are read. Nothing sleeps: each wait is
// for something that can be observed. Where one instance fails or hangs, the bounds that are
// asserted are those of the requirements: seconds, and shares and ratios within one run.
//
// With -e2e.full the sizes are those of the requirements: 100,000 requests, 4 GiB, 1,000 readers.
//
// When the tests run under the race detector, so does the sidecar: a race in it is printed to
// its standard error and changes its exit status, which every test looks at.
package e2e
