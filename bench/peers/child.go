package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stillpool/stillpool/bench"
)

const (
	startTime = 5 * time.Second // for a server to accept its first connection
	endTime   = 3 * time.Second // for a child to end when asked to
	deathTime = time.Second     // for a server that is dying to be dead
)

// misbehaving is what clients have handlers do meanwhile; nil if they behave.
func misbehaving(j bench.Job) *bench.Misbehaving {
	if j.Echo == nil {
		return nil
	}
	return j.Echo.Misbehaving
}

// serverCommand is what starts the server for a job.
func (c *contestant) serverCommand(j bench.Job, addr, pprof string) []string {
	if misbehaving(j) != nil {
		return append(slices.Clone(c.misbehaving), "--addr", addr)
	}
	return slices.Concat(c.command, serveFlags(j, addr, pprof))
}

// serveFlags are what the server must be told; the peers and stillpool read them alike. pprof may be empty.
func serveFlags(j bench.Job, addr, pprof string) []string {
	flags := []string{"--addr", addr}
	if pprof != "" {
		flags = append(flags, "--pprof", pprof)
	}
	if j.Tick != nil {
		flags = append(flags, "--every", j.Tick.Every.String())
	}
	return flags
}

// measure starts the server, lets a client measure it, and ends both. Each is a process of its own,
// because each needs a descriptor a connection and its processor time told apart. An attack has a
// second server, to be attacked as the control.
func measure(ctx context.Context, c *contestant, j bench.Job) (bench.Sample, error) {
	server, err := startServer(ctx, c, j)
	if err != nil {
		return bench.Sample{}, err
	}
	defer server.end()
	control := ""
	if j.Attack != nil && !j.Attack.NoControl {
		other, err := startServer(ctx, c, j)
		if err != nil {
			return bench.Sample{}, err
		}
		defer other.end()
		control = other.addr
	}
	j = j.At(server.addr, server.Process.Pid, control)
	if j.Idle != nil {
		j.Idle.PprofURL = server.pprof
	}
	s, err := runClient(ctx, j)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return s, server.verdict(err)
}

// freeAddr asks the kernel for a port. Nothing keeps it until the server listens, but the kernel
// does not give it to the next who asks, either.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// child is a command that is asked to end with ctx, and ends with this process whatever happens to
// it. It has a process group of its own: ^C on the terminal is for this process, which ends its
// children in order.
func child(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endTime
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func awaitServer(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, errors.New("the server did not start"))
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func runClient(ctx context.Context, j bench.Job) (s bench.Sample, err error) {
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	input, err := json.Marshal(j)
	if err != nil {
		return s, err
	}
	var log clip
	client := child(ctx, []string{self, "client"})
	client.Stdin = bytes.NewReader(input)
	client.Stderr = &log
	output, err := client.Output()
	if err != nil {
		return s, clientError(err, log.String())
	}
	return s, json.Unmarshal(output, &s)
}

// clientError is what the client said, if it did.
func clientError(err error, log string) error {
	said, ok := strings.CutPrefix(strings.TrimSpace(log), "peers: error: ")
	if ok {
		return errors.New(said)
	}
	return fmt.Errorf("client: %w\n%s", err, log)
}

// clientCmd is the client child. It is not for people: they have stillpool bench.
type clientCmd struct{}

// Run implements the subcommand.
func (*clientCmd) Run() error {
	ctx, stop := untilSignal()
	defer stop()
	var j bench.Job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	if j.Attack != nil {
		command, err := hostileCommand()
		if err != nil {
			return err
		}
		j.Attack.Command = command
	}
	s, err := j.Run(ctx)
	if err != nil {
		return err
	}
	return bench.WriteJSON(os.Stdout, s)
}
