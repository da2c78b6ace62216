// Package metrics shows Prometheus what package server counts.
//
//	reg := prometheus.NewRegistry()
//	reg.MustRegister(metrics.New(srv, nil))
//	http.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
//
// What each metric means, its unit, and which to be alerted by is in README.md; grafana.json is a
// dashboard of them all. Only programs that import this package depend on Prometheus' library: package
// server does not know it.
//
// The catalogue is families.go, metrics.go hands it out, and resident.go reads the memory of the
// process.
package metrics
