package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stillpool/stillpool/server"
	"github.com/stillpool/stillpool/server/metrics"
)

const (
	// healthTime is how long the event loops have to answer. On a machine that is merely busy they
	// take milliseconds.
	healthTime = 2 * time.Second
	// scrapeTime bounds an answer of /metrics, and scrapes how many are made at once.
	scrapeTime = 10 * time.Second
	scrapes    = 4
)

// patient is what the health of a *server.Server is asked of.
type patient interface {
	Healthy(context.Context) error
	Ready() error
}

// serveAdmin serves what an operator and the machinery around the process ask about srv at addr, and
// answers how to end that; the empty address is none. It is to be called before srv serves.
func serveAdmin(addr string, srv *server.Server, logger *slog.Logger) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	return serveAside("--admin", addr, adminMux(srv, registry(srv)), logger, asideWords{
		serving: "Serving metrics, health and profiles", path: "/",
		warning: "Other machines may reach metrics and profiles: they tell much, and taking a profile slows this process down",
	})
}

// registry has the metrics of the server, of Go's runtime and of the process.
func registry(srv *server.Server) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(metrics.New(srv, nil), collectors.NewGoCollector(), collectors.NewBuildInfoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

func adminMux(p patient, reg *prometheus.Registry) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Timeout: scrapeTime, MaxRequestsInFlight: scrapes}))
	mux.Handle("GET /healthz", verdict(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, healthTime)
		defer cancel()
		return p.Healthy(ctx)
	}))
	mux.Handle("GET /readyz", verdict(func(context.Context) error { return p.Ready() }))
	mux.Handle("/debug/pprof/", pprofMux())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "/metrics\n/healthz\n/readyz\n/debug/pprof/\n")
	})
	return mux
}

// verdict answers 200, or 503 with what is wrong. Nothing on the way may keep it.
func verdict(of func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := of(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}
