package metrics_test

import (
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stillpool/stillpool/server"
	"github.com/stillpool/stillpool/server/metrics"
)

// A program shows its server's metrics on an address of their own.
func ExampleNew() {
	srv := &server.Server{Addr: "localhost:8080"}
	srv.Handle("/ws", server.Options{})

	reg := prometheus.NewRegistry()
	reg.MustRegister(metrics.New(srv, nil))
	http.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	go http.ListenAndServe("localhost:9090", nil)

	log.Fatal(srv.ListenAndServe())
}
