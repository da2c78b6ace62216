package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// HostileOptions are what hostile connections are told; see [AttackOptions], which they are a part of.
type HostileOptions struct {
	URL            string        `json:"url"`
	Kinds          []string      `json:"kinds"`
	Conns          int           `json:"conns"`
	Rate           float64       `json:"rate_per_second"`
	Drip           time.Duration `json:"drip_ns"`
	ConnectTimeout time.Duration `json:"connect_timeout_ns"`
	AllowRemote    bool          `json:"allow_remote,omitempty"`
}

// KindReport is what the connections of one kind did, and what was done to them.
type KindReport struct {
	Kind  string `json:"kind"`
	Conns int    `json:"conns"` // that there may be at a time

	Open    int `json:"open"`    // now: upgraded
	Opening int `json:"opening"` // now: connecting, or not upgraded

	Came     int64 `json:"came"`     // connections begun
	Upgraded int64 `json:"upgraded"` // of them
	// Declined connections were upgraded without the compression that they had asked for.
	Declined      int64          `json:"declined,omitempty"`
	SentBytes     int64          `json:"sent_bytes"`
	ReceivedBytes int64          `json:"received_bytes"`
	Ends          map[string]int `json:"ends,omitempty"` // by how connections ended
}

// HostileReport is what all of them did.
type HostileReport struct {
	Kinds []KindReport `json:"kinds"`
	Error string       `json:"error,omitempty"`
}

// present and came are sums over the kinds.
func (r *HostileReport) present() (n int) {
	for _, k := range r.Kinds {
		n += k.Open + k.Opening
	}
	return n
}

func (r *HostileReport) came() (n int64) {
	for _, k := range r.Kinds {
		n += k.Came
	}
	return n
}

// ErrNotLoopback is the answer to an attack on another machine that was not allowed.
var ErrNotLoopback = errors.New("bench: attacks go to loopback addresses only, unless another one is allowed")

func attackTarget(ctx context.Context, url string, allowRemote bool) (target, error) {
	t, err := resolve(ctx, url)
	if err == nil && !allowRemote && !t.addr.Addr().IsLoopback() {
		err = fmt.Errorf("%w: %s", ErrNotLoopback, t.addr.Addr())
	}
	return t, err
}

// ServeHostile is the whole work of a hostile process. It reads HostileOptions from in, attacks until
// in ends, and writes a HostileReport to out now and then, and a last one at the end.
func ServeHostile(in io.Reader, out io.Writer) error {
	orders := json.NewDecoder(in)
	var o HostileOptions
	if err := orders.Decode(&o); err != nil {
		return fmt.Errorf("bench: options of a hostile process: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, io.MultiReader(orders.Buffered(), in))
	}()
	reports := json.NewEncoder(out)
	c, err := hostileCrowd(ctx, o)
	if err == nil {
		err = c.run(ctx, func() { _ = reports.Encode(c.report()) }) // when nobody listens, in ends too
	}
	if err != nil {
		return reports.Encode(HostileReport{Error: err.Error()})
	}
	return nil
}

func hostileCrowd(ctx context.Context, o HostileOptions) (*crowd, error) {
	t, err := attackTarget(ctx, o.URL, o.AllowRemote)
	if err != nil {
		return nil, err
	}
	var kinds []*kind
	for _, name := range o.Kinds {
		k, err := kindNamed(name)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, k)
	}
	return newCrowd(t, o, kinds, 0)
}

func (c *crowd) report() HostileReport {
	var r HostileReport
	for _, p := range c.parties {
		r.Kinds = append(r.Kinds, p.report)
	}
	return r
}
