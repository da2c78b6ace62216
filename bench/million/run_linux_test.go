package million

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds what a test waits for. Nothing waits for it unless something is wrong.
const patience = 30 * time.Second

// small is a run of two servers and two clients, whose handlers take so long that an interval of a
// millisecond is far too short for any machine.
func small(mark string) Options {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Options{
		Conns: 200, PerProcess: 150, Idle: 200 * time.Millisecond, Hold: 600 * time.Millisecond,
		Every: 100 * time.Millisecond, Overload: 500 * time.Millisecond, OverloadEvery: time.Millisecond,
		Command: []string{"env", asChild + "=" + mark, self},
		settle:  time.Millisecond, lull: time.Millisecond, work: 50 * time.Microsecond,
	}
}

func markOf(t *testing.T) string { return fmt.Sprintf("%d-%s", os.Getpid(), t.Name()) }

// noneLeft fails if a child of the run is still there.
func noneLeft(t *testing.T) {
	t.Helper()
	if pids := marked(markOf(t)); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
}

// TestRun holds 200 connections from one end to the other, and holds what it counted against itself: it
// judges nothing that depends on how fast the machine is.
func TestRun(t *testing.T) {
	t.Parallel()
	o := small(markOf(t))
	var said lines
	o.Progress = &said
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	noneLeft(t)
	if r.Servers != 2 || r.Clients != 2 {
		t.Errorf("%d servers and %d clients, want 2 of each", r.Servers, r.Clients)
	}
	if r.Open != o.Conns || r.Ramp.Opened != o.Conns || len(r.Lost) > 0 || len(r.Deaths) > 0 || r.Interrupted {
		t.Errorf("%d of %d open, %d opened, lost %v, died %v", r.Open, o.Conns, r.Ramp.Opened, r.Lost, r.Deaths)
	}
	if r.Sent == 0 || max(r.Received, r.Sent)-min(r.Received, r.Sent) > 2 {
		t.Errorf("%d messages sent and %d received", r.Sent, r.Received)
	}
	for name, l := range map[string]*Load{"hold": r.Hold, "overload": r.Overload, "after": r.After} {
		wantWhole(t, name, l, o.Conns)
	}
	if r.Overload.Skipped == 0 || r.Overload.Spread.Least == 0 {
		t.Errorf("overload: %d skipped, %d messages at the least", r.Overload.Skipped, r.Overload.Spread.Least)
	}
	if r.Idle == nil || r.Idle.Seconds < o.Idle.Seconds() || r.Recovery == nil || r.Recovery.HalfEasedSeconds <= 0 ||
		r.Recovery.EasedSeconds < r.Recovery.HalfEasedSeconds {
		t.Errorf("idle %+v, recovery %+v", r.Idle, r.Recovery)
	}
	if m := r.Memory; m.Before.ServerRSSBytes == 0 || m.Open.Conns != o.Conns || m.Open.ClientPSSBytes == 0 || m.Open.SlabBytes == 0 {
		t.Errorf("memory %+v", m)
	}
	wantSeries(t, r)
	for _, want := range []string{"descriptors  fine", "opening\n", "overload\n"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q was not said in\n%s", want, said.String())
		}
	}
}

// wantWhole holds a load's numbers against each other.
func wantWhole(t *testing.T, name string, l *Load, conns int) {
	t.Helper()
	if l == nil {
		t.Errorf("%s: nothing", name)
		return
	}
	inBuckets, of, messages := int64(0), 0, 0
	for _, n := range l.ServerLateness.Counts {
		inBuckets += int64(n)
	}
	for n, with := range l.Spread.ByTicks {
		of += with
		messages += n * with
	}
	// A server is asked while it ticks, so the one tick that it is at may be in one count only.
	if l.Ticks == 0 || max(inBuckets, l.Ticks)-min(inBuckets, l.Ticks) > 2 || l.OnTime > l.Ticks+2 {
		t.Errorf("%s: %d ticks, %d of them on time, %d in the histogram", name, l.Ticks, l.OnTime, inBuckets)
	}
	if of != conns || int64(messages) != l.Messages || l.Messages == 0 || l.Lost != 0 {
		t.Errorf("%s: %d connections got %d messages, %d were received, %d lost", name, of, messages, l.Messages, l.Lost)
	}
	if l.Spread.Least > l.Spread.Most || l.ServerCPUPercent <= 0 || l.ClientCPUPercent <= 0 {
		t.Errorf("%s: %+v", name, l)
	}
}

func wantSeries(t *testing.T, r *Result) {
	t.Helper()
	if len(r.Series) == 0 {
		t.Fatal("no series")
	}
	last := r.Series[len(r.Series)-1]
	if last.Opened != int64(r.Open) || last.AvailableBytes <= 0 || last.SlabBytes <= 0 {
		t.Errorf("the series ends with %+v", last)
	}
}

// lines is a log that is written and read at the same time.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestFullServers: servers that have room for hardly more than all refuse some connections, unless the
// kernel spreads them very evenly, and all open all the same.
func TestFullServers(t *testing.T) {
	t.Parallel()
	o := small(markOf(t))
	o.Idle, o.Overload, o.Hold = -1, -1, time.Millisecond
	o.Conns, o.PerProcess, o.Servers = 400, 104, 4
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	noneLeft(t)
	if r.Open != o.Conns || len(r.Lost) > 0 {
		t.Errorf("%d of %d open, lost %v", r.Open, o.Conns, r.Lost)
	}
	t.Logf("refused and tried again: %v", r.Ramp.Failed)
}

// TestNoRoom: with fewer places than connections the run ends, and says how far it came and why.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	o := small(markOf(t))
	o.PerProcess, o.Servers = 90, 2
	r, err := Run(t.Context(), o)
	if !errors.Is(err, ErrNotOpened) || !strings.Contains(err.Error(), "503") {
		t.Errorf("error %v", err)
	}
	if r.Ramp.Opened != 180 || r.Hold != nil {
		t.Errorf("%d opened, hold %v", r.Ramp.Opened, r.Hold)
	}
	noneLeft(t)
}

// TestInterrupted ends a run in each of its phases.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"start", "ramp", "idle", "hold", "overload", "recovery", "after"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			o := small(markOf(t))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if phase == "hold" {
				o.Hold = time.Hour
			}
			last := ""
			o.entered = func(p string, _ *run) {
				if last = p; p == phase {
					cancel()
				}
			}
			r, err := Run(ctx, o)
			if !errors.Is(err, ErrInterrupted) || !r.Interrupted {
				t.Errorf("error %v, interrupted %v", err, r.Interrupted)
			}
			if last != phase {
				t.Errorf("went on to %s", last)
			}
			noneLeft(t)
		})
	}
}

// TestInterruptedHolding: what was heard until then is told.
func TestInterruptedHolding(t *testing.T) {
	t.Parallel()
	o := small(markOf(t))
	o.Hold = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.entered = func(phase string, r *run) {
		if phase == "hold" {
			go whenHeard(r, cancel)
		}
	}
	r, err := Run(ctx, o)
	if !errors.Is(err, ErrInterrupted) {
		t.Errorf("error %v", err)
	}
	wantWhole(t, "hold", r.Hold, o.Conns)
	noneLeft(t)
}

// whenHeard does something when each connection has heard something, as far as can be seen from here.
func whenHeard(r *run, do func()) {
	for end := time.Now().Add(patience); r.crew.now()[received] < int64(r.options.Conns) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	do()
}

// TestDeaths: a process that is killed is told of, and the run goes on with the others.
func TestDeaths(t *testing.T) {
	t.Parallel()
	for _, role := range []string{RoleClient, RoleServer} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			o := small(markOf(t))
			o.entered = func(phase string, r *run) {
				if phase == "overload" {
					victim := map[string][]*child{RoleClient: r.crew.clients, RoleServer: r.crew.servers}[role][1]
					victim.cmd.Process.Kill()
					<-victim.ended
				}
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			noneLeft(t)
			if len(r.Deaths) != 1 || r.Deaths[0].Role != role || r.Deaths[0].Index != 1 || !strings.Contains(r.Deaths[0].Why, "killed") {
				t.Errorf("deaths %+v", r.Deaths)
			}
			gone := 0
			for _, n := range r.Lost {
				gone += n
			}
			if gone == 0 || r.Open+gone != o.Conns || r.After == nil || r.After.Messages == 0 {
				t.Errorf("%d open, lost %v, after it %+v", r.Open, r.Lost, r.After)
			}
			if role == RoleClient && (r.Lost["client process ended"] != 100 || r.Deaths[0].Conns != 100) {
				t.Errorf("lost %v, deaths %+v", r.Lost, r.Deaths)
			}
		})
	}
}

// TestAllDied: without any server the run ends.
func TestAllDied(t *testing.T) {
	t.Parallel()
	o := small(markOf(t))
	o.Hold = time.Hour
	o.entered = func(phase string, r *run) {
		if phase == "hold" {
			for _, c := range r.crew.servers {
				c.cmd.Process.Kill()
			}
		}
	}
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrAllDied) {
		t.Errorf("error %v", err)
	}
	noneLeft(t)
}

// TestNoAnswer: a process that hangs ends the run, and does not outlive it.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	o := small(markOf(t))
	o.answer, o.ending = time.Second, time.Second
	o.entered = func(phase string, r *run) {
		if phase == "overload" {
			r.crew.servers[1].cmd.Process.Signal(syscall.SIGSTOP)
		}
	}
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("error %v", err)
	}
	noneLeft(t)
}

// TestRunningLow: a run ends before the machine has no memory left. What is left of this one is little,
// if one takes it for so large.
func TestRunningLow(t *testing.T) {
	t.Parallel()
	o := small(markOf(t))
	o.Hold = time.Hour
	o.machine = func() *Limits {
		l := thisMachine()
		l.MemTotal, l.MemAvailable = 1<<60, unknown
		return l
	}
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrRunningLow) {
		t.Errorf("error %v", err)
	}
	noneLeft(t)
}

// TestNoSuchCommand: children that can't start, or that end at once, end the run.
func TestNoSuchCommand(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"/nowhere/at/all", "false"} {
		o := small(markOf(t))
		o.Command = []string{command}
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", command)
		}
	}
}

// TestKilled kills a run with its children and a changed setting, and nothing is left of either.
func TestKilled(t *testing.T) {
	t.Parallel()
	root := fakeSysctls(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self)
	parent.Env = append(os.Environ(), asParent+"="+markOf(t)+"\n"+root)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	parent.Stderr = os.Stderr
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewScanner(out)
	if !told.Scan() || told.Text() != "hold" {
		t.Errorf("said %q", told.Text())
	}
	if n := len(marked(markOf(t))); n != 5 {
		t.Errorf("%d children, want two servers, two clients and the one that changes settings", n)
	}
	if got := fileMax(t, root); got == "1000" {
		t.Error("the setting is not changed")
	}
	if err := parent.Process.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	parent.Wait() // it was killed
	eventually(t, "the end of all children", func() bool { return len(marked(markOf(t))) == 0 })
	eventually(t, "the old setting", func() bool { return fileMax(t, root) == "1000" })
}

// TestBound: a child that does not heed the end of its input ends with its parent all the same.
func TestBound(t *testing.T) {
	t.Parallel()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), asBinder+"="+markOf(t))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewScanner(out)
	if !told.Scan() || told.Text() != "started" || len(marked(markOf(t))) != 1 {
		t.Errorf("said %q, children %v", told.Text(), marked(markOf(t)))
	}
	if err := parent.Process.Kill(); err != nil {
		t.Error(err)
	}
	parent.Wait() // it was killed
	eventually(t, "the end of the child", func() bool { return len(marked(markOf(t))) == 0 })
}

// bindToBeKilled has a child that sleeps, and is killed.
func bindToBeKilled() {
	mark := os.Getenv(asBinder)
	os.Unsetenv(asBinder)
	_, err := startChild(newStarter(), []string{"env", asChild + "=" + mark, "sleep"}, "1000", 0, nil, func(*child) {})
	if err == nil {
		for len(marked(mark)) == 0 { // until env has become sleep
			time.Sleep(time.Millisecond)
		}
		fmt.Println("started")
		select {}
	}
	fmt.Println(err)
	os.Exit(1)
}

// runToBeKilled is a process that holds connections until it is killed.
func runToBeKilled() {
	mark, root, _ := strings.Cut(os.Getenv(asParent), "\n")
	os.Unsetenv(asParent)
	o := small(mark)
	o.Hold, o.Fix, o.sysctls, o.machine = time.Hour, true, root, limitsUnder(root)
	o.entered = func(phase string, _ *run) {
		if phase == "hold" {
			fmt.Println(phase)
		}
	}
	fmt.Println(Run(context.Background(), o))
	os.Exit(1)
}

// fakeSysctls is a folder with one setting, which is too low.
func fakeSysctls(t *testing.T) (root string) {
	root = t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "fs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "fs", "file-max"), []byte("1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func fileMax(t *testing.T, root string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "fs", "file-max"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// limitsUnder are those of this machine, but for the setting under root.
func limitsUnder(root string) func() *Limits {
	return func() *Limits {
		l := thisMachine()
		l.Files, l.FilesOpen = number(os.DirFS(root), "fs/file-max"), 900
		return l
	}
}

// TestFix: a setting that is in the way is changed for the time of the run, and put back when it ends.
func TestFix(t *testing.T) {
	t.Parallel()
	o, root := small(markOf(t)), fakeSysctls(t)
	o.Idle, o.Overload, o.Hold = -1, -1, time.Millisecond
	o.machine, o.sysctls = limitsUnder(root), root
	_, err := Run(t.Context(), o)
	var no *Refusal
	if !errors.As(err, &no) || !errors.Is(err, ErrFiles) || no.Greatest != 18 {
		t.Errorf("without fixing: %v", err)
	}
	during := ""
	o.Fix, o.entered = true, func(string, *run) { during = fileMax(t, root) }
	r, err := Run(t.Context(), o)
	if err != nil || r.Open != o.Conns {
		t.Errorf("with fixing: %v, %d open", err, r.Open)
	}
	if during == "1000" || during == "" || fileMax(t, root) != "1000" {
		t.Errorf("during the run %q, after it %q", during, fileMax(t, root))
	}
	if len(r.Changes) != 1 || r.Changes[0] != (Change{Name: "fs.file-max", From: "1000", To: during, Restored: true}) {
		t.Errorf("changes %+v", r.Changes)
	}
	noneLeft(t)
}

// eventually waits until ok, which others bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain waited for %s", what)
		}
	}
}
