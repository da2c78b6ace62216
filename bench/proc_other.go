//go:build !linux

package bench

import (
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

func (p *process) cpu() (time.Duration, error) { return 0, netpoll.ErrUnsupported }

func checkDescriptors(int) error { return netpoll.ErrUnsupported }

func descriptorLimit() uint64 { return 0 }
