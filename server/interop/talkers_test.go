package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// talkers are the processes that talk for clients that are not written in Go, by the client's name.
var talkers = map[string]*talker{}

// A talker is a process that takes conversations as lines of JSON and answers each with its report.
type talker struct {
	cmd   *exec.Cmd
	lines io.WriteCloser

	gone    chan struct{} // closed when it reports no more
	mu      sync.Mutex    // held while a line is written, too
	waiting []chan<- report
}

// findNode says what is missing for Node's ws, if anything is.
func findNode() error {
	if _, err := exec.LookPath("node"); err != nil {
		return errors.New("there is no node in PATH")
	}
	if _, err := os.Stat("js/node_modules/ws"); err != nil {
		return errors.New("Node's package ws is not installed (make node does)")
	}
	return nil
}

// findEngineIO returns an error if engine.io's client is missing.
func findEngineIO() error {
	if err := inPath("node"); err != nil {
		return err
	}
	if _, err := os.Stat("js/node_modules/engine.io-client"); err != nil {
		return errors.New("Node's package engine.io-client is not installed (make node does)")
	}
	return nil
}

// python is Debian's, which the packages of Debian belong to.
const python = "/usr/bin/python3"

// findPython returns an error if a package of Python's is missing.
func findPython(name string) error {
	if exec.Command(python, "-c", "import "+name).Run() != nil {
		return fmt.Errorf("%s has no package %s (make clients installs it)", python, name)
	}
	return nil
}

func startTalker(command ...string) (*talker, error) {
	n := &talker{cmd: exec.Command(command[0], command[1:]...), gone: make(chan struct{})}
	n.cmd.Stderr = os.Stderr
	lines, err := n.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	n.lines = lines
	reports, err := n.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go n.listen(reports)
	return n, nil
}

// listen hands the reports to those who wait for them, until the process ends.
func (n *talker) listen(reports io.Reader) {
	defer close(n.gone)
	decoder := json.NewDecoder(bufio.NewReader(reports))
	for {
		var said struct {
			ID     int
			Report report
		}
		if err := decoder.Decode(&said); err != nil {
			return
		}
		n.mu.Lock()
		waiting := n.waiting[said.ID]
		n.mu.Unlock()
		waiting <- said.Report
	}
}

func (n *talker) stop() error {
	n.lines.Close()
	return n.cmd.Wait()
}

// talkBy makes a client of the talker of that name.
func talkBy(name string) func(*testing.T, conversation) report {
	return func(_ *testing.T, c conversation) report {
		n, came := talkers[name], make(chan report, 1)
		if err := n.tell(c, came); err != nil {
			return report{Error: err.Error()}
		}
		select {
		case r := <-came:
			return r
		case <-n.gone:
			return report{Error: name + " has ended"}
		case <-time.After(patience):
			return report{Error: name + " reported nothing"}
		}
	}
}

func (n *talker) tell(c conversation, to chan<- report) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = append(n.waiting, to)
	return json.NewEncoder(n.lines).Encode(map[string]any{"id": len(n.waiting) - 1, "conversation": c})
}
