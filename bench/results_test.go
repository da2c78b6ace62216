package bench

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func someComparison() *Comparison {
	return &Comparison{
		Name: "tick", Title: "Ticks", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Machine: ThisMachine(),
		Job:   Job{Tick: &TickOptions{Options: Options{Conns: 10}, Every: time.Second}},
		Point: &Point{Series: "ticks", Parameter: "messages a second", Value: 10},
		Servers: []Contestant{{
			Name: "stillpool", Version: "v1", Settings: "default",
			Rounds:   []Sample{{Tick: &TickResult{Common: Common{Messages: 3}, Curve: []CurvePoint{{50, 7}}}}},
			Failures: []Failure{{Round: 1, Reason: "it died"}},
		}},
	}
}

func TestComparisonFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tick.json")
	want := someComparison()
	for range 2 { // the second time it is there already
		if err := WriteFile(path, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadComparison(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, wrote %+v", got, want)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("there are %d files", len(files))
	}
	if err := WriteFile(filepath.Join(dir, "no", "tick.json"), want); err == nil {
		t.Error("no error where there is no folder")
	}
}

// TestUnwritableResult leaves the file of before.
func TestUnwritableResult(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tick.json")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, func() {}); err == nil {
		t.Error("a function was written as JSON")
	}
	data, _ := os.ReadFile(path)
	if files, _ := os.ReadDir(dir); string(data) != "before" || len(files) != 1 {
		t.Errorf("the file has %q, and there are %d files", data, len(files))
	}
}

func TestBadComparisonFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tick.json")
	for text, want := range map[string]string{
		"":                   "EOF",
		`{"name":"x","y":1}`: `unknown field "y"`,
		`{} {}`:              "something follows",
		`{}`:                 "must have a name, a job and servers",
		`{"name":"x","job":{"tick":{}},"servers":[{"name":"a","rounds":[{"echo":{}}]}]}`:                             "a, sample 1: not the result of a job tick",
		`{"name":"x","job":{"tick":{}},"servers":[{"name":"a","rounds":[{}]}]}`:                                      "a, sample 1: not the result of a job tick",
		`{"name":"x","job":{"tick":{}},"servers":[{"name":"a","rounds":[{"tick":{"server":{}}}]}]}`:                  "the server's memory is missing",
		`{"name":"x","job":{"attack":{}},"servers":[{"name":"a","rounds":[{"attack":{"options":{},"rounds":[]}}]}]}`: "0 attacks instead of 1",
		`{"name":"x","job":{"attack":{}},"servers":[{"name":"a","rounds":[{"attack":{"rounds":[{"alone":{}}]}}]}]}`:  "part of an attack is missing",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := ReadComparison(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %s", text, err, want)
		}
	}
}

func TestRoundOfASample(t *testing.T) {
	t.Parallel()
	c := Contestant{Rounds: make([]Sample, 3), Failures: []Failure{{Round: 1}, {Round: 3}, {Round: 4}}}
	for i, want := range []int{2, 5, 6} {
		if got := c.Round(i); got != want {
			t.Errorf("sample %d is of round %d, want %d", i, got, want)
		}
	}
}

// TestEveryScenarioIsKnown checks the lists of scenarios against the fields of Job and Sample.
func TestEveryScenarioIsKnown(t *testing.T) {
	t.Parallel()
	fields := reflect.TypeFor[Job]()
	for i := range fields.NumField() {
		var j Job
		v := reflect.ValueOf(&j).Elem().Field(i)
		v.Set(reflect.New(v.Type().Elem()))
		var s Sample
		v = reflect.ValueOf(&s).Elem().FieldByName(fields.Field(i).Name)
		v.Set(reflect.New(v.Type().Elem()))
		want := strings.ToLower(fields.Field(i).Name)
		if j.Scenario() != want || s.scenario() != want {
			t.Errorf("%s: the scenario is %q, and that of the sample %q", want, j.Scenario(), s.scenario())
		}
		if j.Describe() == "" || len(j.Metrics()) == 0 {
			t.Errorf("%s has no description or no metrics", want)
		}
		if at := j.At("127.0.0.1:1", 7, "127.0.0.1:2"); reflect.DeepEqual(at, j) {
			t.Errorf("%s has no address", want)
		}
	}
}
