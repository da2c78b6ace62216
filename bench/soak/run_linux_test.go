package soak

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/stillpool/stillpool/server"
)

type fault struct {
	ways ways
	what string
}

var faults = map[string]fault{}
var _ server.Kind

func TestSoak(t *testing.T) {
	r, err := Run(context.Background(), Options{
		Command: []string{os.Args[0], asServer, ""}, Conns: 60, Duration: 3 * time.Second, Pause: 5 * time.Millisecond,
		Interval: 100 * time.Millisecond,
	})
	if r == nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	r.WriteTable(&table)
	t.Logf("%v\n%s", err, table.String())
}
