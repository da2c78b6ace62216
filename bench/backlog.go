package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// metricsTime bounds an answer of a server's metrics, and metricsSize its length.
	metricsTime = 5 * time.Second
	metricsSize = 4 << 20
	// backlogMetric is what a server of package server holds to be sent, of the process's own memory.
	backlogMetric, backlogLabel = "stillpool_budget_used_bytes{", `budget="outbound"`
)

// metricsClient asks a server for its metrics, in the text format of Prometheus.
type metricsClient struct {
	url    string
	client http.Client
}

// newMetrics answers nil for no address. Of a URL, the path may be left out.
func newMetrics(where string) (*metricsClient, error) {
	if where == "" {
		return nil, nil
	}
	u, err := asideURL(where, "metrics")
	if err != nil {
		return nil, err
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/metrics"
	}
	return &metricsClient{u.String(), asideClient(metricsTime)}, nil
}

// backlog is what waits to be sent in the server's own memory, in bytes.
func (m *metricsClient) backlog() (int64, error) {
	answer, err := m.client.Get(m.url)
	if err != nil {
		return 0, fmt.Errorf("bench: the server's metrics: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("bench: the server's metrics: %s: HTTP %s", m.url, answer.Status)
	}
	bytes, err := parseBacklog(io.LimitReader(answer.Body, metricsSize))
	if err != nil {
		return 0, fmt.Errorf("bench: the server's metrics: %s: %w", m.url, err)
	}
	return bytes, nil
}

var errNoBacklog = errors.New("no " + backlogMetric + backlogLabel + "}")

// parseBacklog sums up what several servers of one process hold.
func parseBacklog(text io.Reader) (bytes int64, err error) {
	found := false
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, backlogMetric) || !strings.Contains(line, backlogLabel) {
			continue
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		bytes, found = bytes+int64(value), true
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	if !found {
		return 0, errNoBacklog
	}
	return bytes, nil
}
