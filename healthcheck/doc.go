// Package healthcheck probes an address and reports changes of verdict.
//
// A Prober tries an address once, over a connection of its own: TCP connects, HTTP sends a
// request and looks at the status and, if wanted, at the body, GRPC asks the server's health
// service. Before that the connection becomes what a Transport says: it begins with a header, or
// speaks TLS. Watch repeats that on the caller's goroutine and turns the results into verdicts:
//
//	prober := healthcheck.TCP(healthcheck.TCPOptions{})
//	go healthcheck.Watch(ctx, prober, "10.0.0.1:8080", settings, func(v healthcheck.Verdict) {
//		log.Info("verdict", zap.Bool("healthy", v.Healthy), zap.String("reason", v.Reason))
//	})
//
// The first probe decides alone, so that an endpoint that is down at the start is known
// within one probe. After that, Rise passes in a row are needed to come up and Fall
// failures in a row to go down. While an address is down another interval may hold, shorter
// or longer. Intervals are jittered, and the first probe waits a small random time, so that
// many endpoints, and many proxies, do not probe in step.
package healthcheck
