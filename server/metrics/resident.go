package metrics

import (
	"bytes"
	"os"
	"strconv"
)

// resident is the memory of this process that is in the machine's, in bytes, where the system tells
// it as Linux does.
func resident() (float64, bool) {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	return float64(pages) * float64(os.Getpagesize()), err == nil
}
