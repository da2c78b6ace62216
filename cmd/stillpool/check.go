package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stillpool/stillpool/bench"
)

// benchCheckCmd holds the server of this binary against its budgets.
type benchCheckCmd struct {
	PeersBin string        `placeholder:"FILE" help:"Binary of the module bench/peers (default: the one beside this binary, or else on the PATH)."`
	Only     []string      `placeholder:"NAME" help:"Budgets to check (default: all, listed below)."`
	Rounds   int           `placeholder:"N" help:"How often to measure each server (default: 5)."`
	Duration time.Duration `placeholder:"TIME" help:"How long to measure each time (default: 10s)."`
	Quick    bool          `help:"A first look: 3 rounds of 3 seconds."`
	Busy     int           `default:"2" help:"Hold each budget also beside as many processes that compute; 0 is on a quiet machine only."`
	JSON     string        `name:"json" placeholder:"FILE" help:"Write the verdicts, and all that was measured, as JSON to FILE too."`
}

// Exit statuses of a check.
const (
	exitShort      = 1
	exitUnmeasured = 2
)

// Help lists the budgets.
func (c *benchCheckCmd) Help() string {
	var b strings.Builder
	b.WriteString("Every server is measured as often as the others and in turn with them, in an order that changes. " +
		"A budget is a limit of the median of the ratios that two servers have in the same round, or where no other server is named, of the metric itself. " +
		"Each is held on the machine as it is, and then beside busy processes, with all its servers again. " +
		"All of it takes about two hours, with --quick about three quarters of one.\n\n" +
		"The exit status is 0 if every budget is held, 1 if one is short, and else 2 if one could not be measured.\n\nBudgets:\n\n")
	for _, c := range contests {
		for _, budget := range c.on(false).budgets {
			fmt.Fprintf(&b, "  %-18s %s\n", budget.Name, budget.Sentence)
		}
	}
	return b.String()
}

// Validate refuses budgets that do not exist.
func (c *benchCheckCmd) Validate() error {
	for _, name := range c.Only {
		if !slices.Contains(budgetNames(), name) {
			return fmt.Errorf("--only: no budget is called %q (there are %s)", name, strings.Join(budgetNames(), ", "))
		}
	}
	if c.Rounds < 0 || c.Duration < 0 || c.Busy < 0 {
		return errors.New("--rounds, --duration and --busy can't be negative")
	}
	return nil
}

func (c *benchCheckCmd) setDefaults() {
	rounds, duration := 5, 10*time.Second
	if c.Quick {
		rounds, duration = 3, 3*time.Second
	}
	if c.Rounds == 0 {
		c.Rounds = rounds
	}
	if c.Duration == 0 {
		c.Duration = duration
	}
}

// checkResult is all of a check.
type checkResult struct {
	Started     time.Time           `json:"started"`
	Machine     bench.Machine       `json:"machine"`
	Rounds      int                 `json:"rounds"`
	Seconds     float64             `json:"duration_seconds"`
	Budgets     []checked           `json:"budgets"`
	Comparisons []*bench.Comparison `json:"comparisons"`
}

// checked is a budget with its verdict, or why there is none.
type checked struct {
	Name    string         `json:"name"`
	Busy    int            `json:"busy,omitempty"` // processes that computed meanwhile
	Verdict *bench.Verdict `json:"verdict,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// Run implements the subcommand. It keeps its thread, because children end with the one that started
// them.
func (c *benchCheckCmd) Run(to streams) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, stop := untilInterrupt()
	defer stop()
	c.setDefaults()
	r := &checkResult{Started: time.Now(), Machine: bench.ThisMachine(), Rounds: c.Rounds, Seconds: c.Duration.Seconds()}
	for _, all := range contests {
		for _, busy := range c.machines() {
			if chosen := all.on(busy > 0).only(c.Only); len(chosen.budgets) > 0 {
				c.check(ctx, chosen, checkOptions{c.Rounds, c.Duration, busy}, r, to)
			}
		}
	}
	fmt.Fprintln(to.out, r.summary())
	return errors.Join(r.write(c.JSON), r.err())
}

// machines are how many processes compute beside each contest: none first, and then as many as were asked for.
func (c *benchCheckCmd) machines() []int {
	if c.Busy == 0 {
		return []int{0}
	}
	return []int{0, c.Busy}
}

// check runs a contest and judges its budgets.
func (c *benchCheckCmd) check(ctx context.Context, of contest, o checkOptions, r *checkResult, to streams) {
	fmt.Fprintf(to.err, "%s%s: %d rounds of %v with %s\n", of.name, bench.BesideBusy(o.busy), o.rounds, o.duration, strings.Join(of.servers(), ", "))
	comparison, err := c.measure(ctx, of, o, to)
	if err == nil {
		r.Comparisons = append(r.Comparisons, comparison)
	}
	for _, b := range of.budgets {
		result := checked{Name: b.Name, Busy: o.busy}
		b.Busy = o.busy
		failed := err
		if failed == nil {
			result.Verdict, failed = b.Judge(comparison)
		}
		if failed != nil {
			result.Error = failed.Error()
		}
		r.Budgets = append(r.Budgets, result)
		result.show(to.out)
	}
}

// measure answers with what was measured, or why it could not be.
func (c *benchCheckCmd) measure(ctx context.Context, of contest, o checkOptions, to streams) (result *bench.Comparison, err error) {
	if of.by != nil {
		err = busyFlags{o.busy}.beside(func() (err error) {
			result, err = of.by(ctx, o)
			return err
		})
	} else {
		result, err = c.askPeers(ctx, of, o, to)
	}
	if ctx.Err() != nil {
		return nil, errors.New("interrupted")
	}
	return result, err
}

// askPeers lets the peers binary run a contest, as a process of its own.
func (c *benchCheckCmd) askPeers(ctx context.Context, of contest, o checkOptions, to streams) (*bench.Comparison, error) {
	peers, err := c.peers()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "stillpool-check-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "comparison.json")
	var said clip // its own report, of use only if it fails
	cmd := command(ctx, peers, append(of.args(o), "--stillpool-bin="+self, "--json="+file)...)
	cmd.Stdout, cmd.Stderr = &said, io.MultiWriter(to.err, &said)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(peers), err, lastLine(said.String()))
	}
	return bench.ReadComparison(file)
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }

// peers finds the binary of the peers.
func (c *benchCheckCmd) peers() (string, error) {
	if c.PeersBin != "" {
		return exec.LookPath(c.PeersBin)
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), "peers")); err == nil {
		return path, nil
	}
	path, err := exec.LookPath("peers")
	if err != nil {
		return "", fmt.Errorf("no binary called peers beside %s or on the PATH: build it with "+
			"\"cd bench/peers && go build -o ../../bin/peers .\" and name it with --peers-bin, or do all of it with \"make check\"", self)
	}
	return path, nil
}

func (c checked) show(w io.Writer) {
	if c.Verdict != nil {
		c.Verdict.WriteTable(w)
		return
	}
	fmt.Fprintf(w, "--     %s, %s: could not be measured: %s\n", c.Name, bench.MachineState(c.Busy), c.Error)
}

func (r *checkResult) count() (held, short, unmeasured int) {
	for _, c := range r.Budgets {
		switch {
		case c.Verdict == nil:
			unmeasured++
		case c.Verdict.Held:
			held++
		default:
			short++
		}
	}
	return held, short, unmeasured
}

func (r *checkResult) summary() string {
	held, short, unmeasured := r.count()
	return fmt.Sprintf("%d held, %d short, %d not measured; %d rounds of %v s, %d processors, %s, Linux %s",
		held, short, unmeasured, r.Rounds, r.Seconds, r.Machine.Processors, r.Machine.Go, r.Machine.Kernel)
}

func (r *checkResult) write(file string) error {
	if file == "" {
		return nil
	}
	return bench.WriteFile(file, r)
}

// err is how the check came out, unless every budget is held.
func (r *checkResult) err() error {
	switch _, short, unmeasured := r.count(); {
	case short > 0:
		return outcome{fmt.Sprintf("%d of %d budgets are short", short, len(r.Budgets)), exitShort}
	case unmeasured > 0:
		return outcome{fmt.Sprintf("%d of %d budgets could not be measured", unmeasured, len(r.Budgets)), exitUnmeasured}
	}
	return nil
}

// outcome is an error with an exit status of its own.
type outcome struct {
	text string
	code int
}

func (o outcome) Error() string { return o.text }
func (o outcome) status() int   { return o.code }
