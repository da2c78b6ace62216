package stress

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table is a list of names and values, the values aligned.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t table) row(name, format string, values ...any) {
	fmt.Fprintf(t, name+"\t"+format+"\n", values...) // Flush tells of errors
}
