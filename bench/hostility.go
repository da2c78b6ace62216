package bench

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
)

// hostility is hostile connections at work: in a process of their own, so that what they cost is told
// apart from the good clients and can be of lower priority, or in this one. Either is told and heard
// over a pair of pipes, and ends when its input does; so it can't outlive this process.
type hostility struct {
	orders  io.WriteCloser
	process *process // nil in this one
	equal   bool     // the process has no lower priority than others
	last    atomic.Pointer[HostileReport]
	ended   chan struct{}
	err     error // after ended
}

// startHostile starts command, which is to call ServeHostile, or calls it if there is none. Beside busy processes the
// lowest priority would leave an attack 1.5% of a processor, so it is equal to them then.
func startHostile(o HostileOptions, command []string, busy int) (*hostility, error) {
	h := &hostility{ended: make(chan struct{}), equal: busy > 0}
	h.last.Store(&HostileReport{})
	start := h.startHere
	if len(command) > 0 {
		start = func() (io.Reader, func() error, error) { return h.startProcess(command) }
	}
	reports, wait, err := start()
	if err != nil {
		return nil, err
	}
	go h.listen(reports, wait)
	if err := json.NewEncoder(h.orders).Encode(o); err != nil {
		return nil, errors.Join(err, h.stop())
	}
	return h, nil
}

func (h *hostility) startHere() (io.Reader, func() error, error) {
	in, orders := io.Pipe()
	reports, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := ServeHostile(in, out)
		in.Close() // whoever still writes gets an error
		out.Close()
		done <- err
	}()
	h.orders = orders
	return reports, func() error { return <-done }, nil
}

func (h *hostility) startProcess(command []string) (io.Reader, func() error, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	reports, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	start := startLowly
	if h.equal {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		return nil, nil, err
	}
	h.orders, h.process = orders, &process{pid: cmd.Process.Pid}
	return reports, cmd.Wait, nil
}

// listen keeps the last report until there are no more.
func (h *hostility) listen(reports io.Reader, wait func() error) {
	defer close(h.ended)
	d := json.NewDecoder(reports)
	for {
		var r HostileReport
		if err := d.Decode(&r); err != nil {
			break
		}
		h.last.Store(&r)
		if r.Error != "" {
			h.err = errors.New("hostile connections: " + r.Error)
		}
	}
	h.err = errors.Join(h.err, wait())
}

// stop ends them. The last report is complete then.
func (h *hostility) stop() error {
	_ = h.orders.Close()
	<-h.ended
	return h.err
}
