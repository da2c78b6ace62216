//go:build !linux

package bench

import (
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

type alarm struct{}

func newAlarm(netpoll.Poller) (*alarm, error) { return nil, netpoll.ErrUnsupported }
func (a *alarm) set(time.Duration) error      { return netpoll.ErrUnsupported }
func (a *alarm) close()                       {}
