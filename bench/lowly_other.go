//go:build !linux

package bench

import (
	"os/exec"

	"github.com/stillpool/stillpool/netpoll"
)

func startLowly(*exec.Cmd) error { return netpoll.ErrUnsupported }
