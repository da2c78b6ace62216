package bench

import (
	"fmt"
	"io"
	"strings"
)

// WriteTable writes the verdict for people: in the first line what was decided and by which number,
// below it the figures behind that.
func (v *Verdict) WriteTable(w io.Writer) error {
	word := "SHORT"
	if v.Held {
		word = "held"
	}
	lines := []string{
		fmt.Sprintf("%-6s %s, %s: %s, %s", word, v.Budget.Name, MachineState(v.Budget.Busy), v.judged(), v.limit()),
		v.Budget.Sentence,
		v.metric.Title + ": " + strings.Join(v.figures(), ", "),
	}
	for _, name := range v.Budget.Beside {
		lines = append(lines, fmt.Sprintf("beside: %s", v.ratioTo(name)))
	}
	_, err := io.WriteString(w, strings.Join(append(lines, v.doubts()...), "\n       ")+"\n")
	return err
}

// judged is the number that the limit is for.
func (v *Verdict) judged() string {
	if v.Budget.Against != "" {
		return v.ratioTo(v.Budget.Against)
	}
	return v.metric.show(v.Judged)
}

func (v *Verdict) limit() string {
	bound := "at most"
	if v.Budget.AtLeast {
		bound = "at least"
	}
	if v.Budget.Against != "" {
		return fmt.Sprintf("%s %.4g", bound, v.Budget.Limit)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %.4g %s", bound, v.Budget.Limit, v.metric.Unit))
}

func (v *Verdict) ratioTo(name string) string {
	for _, f := range v.Figures {
		if f.Server == name && f.Ratio != nil {
			return fmt.Sprintf("%.2f (%.2f to %.2f) of %s", f.Ratio.Median, f.Ratio.Min, f.Ratio.Max, name)
		}
	}
	return "no ratio to " + name
}

func (v *Verdict) figures() (all []string) {
	for _, f := range v.Figures {
		name := f.Server
		if f.Version != "" && f.Version != "(devel)" {
			name += " " + f.Version
		}
		all = append(all, name+" "+v.metric.show(f.Value))
	}
	return all
}

// show is a spread with its unit.
func (m Metric) show(s Spread) string {
	unit := m.Unit
	if unit != "" {
		unit = " " + unit
	}
	return fmt.Sprintf("%.*f%s (%.*f to %.*f)", m.Digits, s.Median, unit, m.Digits, s.Min, m.Digits, s.Max)
}

// doubts are a line for each round that has some.
func (v *Verdict) doubts() (lines []string) {
	for _, d := range v.Doubts {
		lines = append(lines, fmt.Sprintf("DOUBTFUL round %d, %s: %s", d.Round, d.Server, d.Reason))
	}
	return lines
}
