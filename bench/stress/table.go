package stress

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/stillpool/stillpool/bench"
)

// table is a list of names and values, the values aligned.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t table) row(name, format string, values ...any) {
	fmt.Fprintf(t, name+"\t"+format+"\n", values...) // Flush tells of errors
}

func orNone(counts map[string]int) string {
	if len(counts) == 0 {
		return "none"
	}
	return bench.Reasons(counts)
}

func narrow(counts map[string]int64) map[string]int {
	all := map[string]int{}
	for name, n := range counts {
		all[name] = int(n)
	}
	return all
}
