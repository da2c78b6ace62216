package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// node is a process of Node's that talks with its package ws, or nil.
var node *nodeProcess

// A nodeProcess takes conversations as lines of JSON and answers each with its report.
type nodeProcess struct {
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

func startNode() (*nodeProcess, error) {
	n := &nodeProcess{cmd: exec.Command("node", "js/node.mjs"), gone: make(chan struct{})}
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
func (n *nodeProcess) listen(reports io.Reader) {
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

func (n *nodeProcess) stop() error {
	n.lines.Close()
	return n.cmd.Wait()
}

func talkNode(t *testing.T, c conversation) report {
	came := make(chan report, 1)
	if err := node.tell(c, came); err != nil {
		return report{Error: err.Error()}
	}
	select {
	case r := <-came:
		return r
	case <-node.gone:
		return report{Error: "node has ended"}
	case <-time.After(patience):
		return report{Error: "node reported nothing"}
	}
}

func (n *nodeProcess) tell(c conversation, to chan<- report) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = append(n.waiting, to)
	return json.NewEncoder(n.lines).Encode(map[string]any{"id": len(n.waiting) - 1, "conversation": c})
}
