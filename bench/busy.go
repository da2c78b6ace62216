package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Busy is processes that compute beside a measurement, so that clients and servers compete for processors as on a
// machine that has other work. Each takes what the scheduler gives an ordinary process of one thread.
type Busy struct{ processes []*busyProcess }

// busyProcess computes until its standard input ends. The kernel ends that with the process that holds the other
// end, so a busy process is never left behind, however its parent dies.
type busyProcess struct {
	cmd   *exec.Cmd
	input io.Closer
}

// StartBusy starts n processes of command, which must call [ServeBusy]. It returns when all of them compute.
func StartBusy(n int, command []string) (*Busy, error) {
	b := &Busy{}
	for range n {
		p, err := startBusyProcess(command)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("bench: a process that computes: %w", err), b.End())
		}
		b.processes = append(b.processes, p)
	}
	return b, nil
}

func startBusyProcess(command []string) (*busyProcess, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &busyProcess{cmd: cmd, input: input}
	if _, err := bufio.NewReader(output).ReadByte(); err != nil {
		return nil, errors.Join(errors.New("it did not begin to compute"), p.end())
	}
	return p, nil
}

// End ends the processes and returns when they are gone. An error says that one had ended before, so that the
// machine was less busy than it was said to be.
func (b *Busy) End() error {
	var all []error
	for _, p := range b.processes {
		all = append(all, p.end())
	}
	b.processes = nil
	return errors.Join(all...)
}

func (p *busyProcess) end() error {
	_ = p.input.Close() // fails only if it was closed before
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("bench: a process that computes: %w", err)
	}
	return nil
}

// ServeBusy is the whole work of a process that computes. It computes until in ends, and writes a byte to out when it
// begins. The process ignores what a terminal or timeout(1) sends to all of its group: the one that started it
// ends it, in order.
func ServeBusy(in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	var ended atomic.Bool
	go func() {
		defer ended.Store(true)
		_, _ = io.Copy(io.Discard, in) // whatever ends it
	}()
	if _, err := out.Write([]byte{'\n'}); err != nil {
		return err
	}
	for x := uint64(1); !ended.Load(); {
		x = compute(x)
	}
	return nil
}

// Compute takes d of processor time, by how long a step took at its quickest when it was first called. Unlike a wait
// for the clock it takes no less where others have the processor meanwhile.
func Compute(d time.Duration) {
	x := uint64(1)
	for range d / max(1, computeTime()) {
		x = compute(x)
	}
}

// computeTime is that of one call of compute: the least of some, because another process may run during the others.
var computeTime = sync.OnceValue(func() time.Duration {
	least, x := time.Hour, uint64(1)
	for range 50 {
		start := time.Now()
		x = compute(x)
		least = min(least, time.Since(start))
	}
	return least
})

// computeSteps take some 50 µs, so that the end of the input is soon seen.
const computeSteps = 1 << 16

// compute is arithmetic that the compiler can't leave out: each step needs the one before.
//
//go:noinline
func compute(x uint64) uint64 {
	for range computeSteps {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}
