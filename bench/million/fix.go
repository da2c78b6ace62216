package million

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// Settings are changed by a child that does nothing else. It holds what they were, and writes that back
// when its input ends, so also when its parent was killed.

// Setting is a parameter of the kernel.
type Setting struct {
	Name  string `json:"name"` // as sysctl(8) has it
	Value string `json:"value"`
}

// command is how to set it by hand.
func (s Setting) command() string { return fmt.Sprintf("sysctl -w %s='%s'", s.Name, s.Value) }

func (s Setting) file(root string) string {
	return filepath.Join(root, strings.ReplaceAll(s.Name, ".", "/"))
}

// Change is a setting that was changed for the time of a run.
type Change struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
	// Restored tells that it is From again.
	Restored bool `json:"restored"`
}

// fixOrder is what the child is told, and fixReport what it answers: once when all is changed, and once
// when all is put back.
type fixOrder struct {
	Root     string    `json:"root"`
	Settings []Setting `json:"settings"`
}

type fixReport struct {
	Changes []Change `json:"changes"`
	Error   string   `json:"error,omitempty"`
}

// serveFix is the whole work of that child.
func serveFix(in io.Reader, out io.Writer) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	orders := json.NewDecoder(in)
	var o fixOrder
	if err := orders.Decode(&o); err != nil {
		return fmt.Errorf("million: what to change: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, io.MultiReader(orders.Buffered(), in))
	}()
	changes, err := change(o)
	reports := json.NewEncoder(out)
	_ = reports.Encode(fixReport{Changes: changes, Error: textOf(err)}) // if nobody listens, in ends too
	if err == nil {
		select {
		case <-ended:
		case <-signals:
		}
	}
	err = restore(o.Root, changes)
	_ = reports.Encode(fixReport{Changes: changes, Error: textOf(err)})
	return err
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// change writes the settings, and returns those that it wrote.
func change(o fixOrder) (changes []Change, err error) {
	for _, s := range o.Settings {
		old, err := os.ReadFile(s.file(o.Root))
		if err != nil {
			return changes, err
		}
		if err := os.WriteFile(s.file(o.Root), []byte(s.Value), 0); err != nil {
			return changes, err
		}
		changes = append(changes, Change{Name: s.Name, From: strings.Join(strings.Fields(string(old)), " "), To: s.Value})
	}
	return changes, nil
}

// restore puts back what was changed, the last first, as far as it can.
func restore(root string, changes []Change) (err error) {
	for i := range changes {
		c := &changes[len(changes)-1-i]
		wrong := os.WriteFile(Setting{Name: c.Name}.file(root), []byte(c.From), 0)
		c.Restored = wrong == nil
		err = errors.Join(err, wrong)
	}
	return err
}

// fix is the child as its parent sees it. The zero value has changed nothing.
type fix struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	reports *json.Decoder
}

// startFix has the settings changed.
func startFix(command []string, o fixOrder) (*fix, []Change, error) {
	cmd := exec.Command(command[0], append(command[1:len(command):len(command)], RoleFix)...)
	cmd.Stderr = os.Stderr
	apart(cmd)
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	f := &fix{cmd: cmd, orders: orders, reports: json.NewDecoder(out)}
	var r fixReport
	err = errors.Join(json.NewEncoder(orders).Encode(o), f.reports.Decode(&r))
	if err == nil && r.Error != "" {
		err = errors.New("million: changing settings: " + r.Error)
	}
	if err != nil {
		_, ended := f.end()
		return nil, nil, errors.Join(err, ended)
	}
	return f, r.Changes, nil
}

// end has the settings put back, and tells which were.
func (f *fix) end() ([]Change, error) {
	_ = f.orders.Close()
	var r fixReport
	err := f.reports.Decode(&r)
	return r.Changes, errors.Join(err, f.cmd.Wait())
}
