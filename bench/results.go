package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile writes a result as JSON. Who reads the file meanwhile sees the old content or the new, and
// an interruption leaves one of them.
func WriteFile(path string, result any) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".result-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once it has its name
	err = errors.Join(WriteJSON(file, result), file.Chmod(0o644), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// ReadComparison reads what WriteFile wrote. It refuses unknown fields, and samples that are not of
// the comparison's scenario, so that its metrics can be taken of them. Errors name the file.
func ReadComparison(path string) (*Comparison, error) {
	var c Comparison
	if err := ReadFile(path, &c); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &c, nil
}

// ReadFile reads what WriteFile wrote, and refuses unknown fields and what follows. Errors name the file.
func ReadFile(path string, result any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err // names it already
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(result); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if d.More() {
		return fmt.Errorf("%s: something follows the JSON object", path)
	}
	return nil
}

func (c *Comparison) validate() error {
	if c.Name == "" || c.Job.Scenario() == "" || len(c.Servers) == 0 {
		return errors.New("a comparison must have a name, a job and servers")
	}
	for _, server := range c.Servers {
		for i, s := range server.Rounds {
			if err := s.validate(c.Job); err != nil {
				return fmt.Errorf("%s, sample %d: %w", server.Name, i+1, err)
			}
		}
	}
	return nil
}

// validate says what is missing for the metrics of the job.
func (s Sample) validate(j Job) error {
	if s.scenario() != j.Scenario() {
		return fmt.Errorf("not the result of a job %s", j.Scenario())
	}
	if c := s.Common(); c != nil && c.Server != nil && c.Memory == nil {
		return errors.New("the server's memory is missing")
	}
	if s.Broadcast != nil && j.Broadcast.Stalled > 0 && s.Broadcast.Stalled == nil {
		return errors.New("what became of stalled connections is missing")
	}
	if s.Attack != nil {
		return s.Attack.validate(j.Attack)
	}
	return nil
}

func (r *AttackResult) validate(o *AttackOptions) error {
	if want := len(o.withDefaults().rounds()); len(r.Rounds) != want {
		return fmt.Errorf("%d attacks instead of %d", len(r.Rounds), want)
	}
	for _, round := range r.Rounds {
		if round.Alone == nil || round.Beside == nil {
			return errors.New("part of an attack is missing")
		}
	}
	return nil
}

// scenario is the name of the one that the sample is the result of.
func (s Sample) scenario() string {
	switch {
	case s.Tick != nil:
		return "tick"
	case s.Echo != nil:
		return "echo"
	case s.Broadcast != nil:
		return "broadcast"
	case s.Connect != nil:
		return "connect"
	case s.Idle != nil:
		return "idle"
	case s.Attack != nil:
		return "attack"
	}
	return ""
}
