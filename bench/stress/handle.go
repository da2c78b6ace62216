package stress

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/server"
)

// askTime bounds an answer of a subject, which may be overloaded.
const askTime = 10 * time.Second

// Handle is a subject as the client has it: where it is, on this machine.
type Handle struct {
	Addr string `json:"addr"` // host and port
	PID  int    `json:"pid"`
}

func (h Handle) url(path string) string { return "ws://" + h.Addr + path }

// ticked is the endpoint with an interval.
func (h Handle) ticked(every time.Duration) string {
	return h.url(tickedPath + "?every=" + every.String())
}

// subscribe opens so many connections that are ticked. Each has a try to spare.
func (h Handle) subscribe(ctx context.Context, conns int, every time.Duration) (*bench.Subscribers, error) {
	subs, err := bench.Subscribe(ctx, bench.SubscribersOptions{
		Options: bench.Options{URL: h.ticked(every), Conns: conns, SlopeFrom: -1}, Spare: conns,
	})
	if err != nil {
		return nil, err
	}
	if err := subs.Open(ctx, conns); err != nil {
		subs.Close()
		return nil, err
	}
	return subs, nil
}

// stats asks what the server counts.
func (h Handle) stats(ctx context.Context) (st server.Stats, err error) {
	err = h.ask(ctx, "GET", statsPath, func(r io.Reader) error { return json.NewDecoder(r).Decode(&st) })
	return st, err
}

// load changes interval and work of all ticked connections.
func (h Handle) load(ctx context.Context, every, work time.Duration) error {
	q := url.Values{"every": {every.String()}, "work": {work.String()}} // of which µ must be escaped
	return h.ask(ctx, "POST", loadPath+"?"+q.Encode(), nil)
}

// drop has the server close all idle connections.
func (h Handle) drop(ctx context.Context) error { return h.ask(ctx, "POST", dropPath, nil) }

func (h Handle) ask(ctx context.Context, method, path string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+h.Addr+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("stress: %s %s: %s: %s", method, path, res.Status, strings.TrimSpace(string(said)))
	}
	if read != nil {
		err = read(res.Body)
	}
	io.Copy(io.Discard, res.Body) // so that the connection can be used again
	return err
}
