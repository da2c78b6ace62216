package stress

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// headBytes is how much of /proc/net/tcp is read: listeners come first there, and of connections there
// may be tens of thousands.
const headBytes = 16 << 10

var errNoListener = errors.New("no listener at this port in /proc/net/tcp")

// acceptQueue is how many connections wait in the kernel for the listener at addr to accept them.
func acceptQueue(addr string) (int, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, err
	}
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	head := make([]byte, headBytes)
	n, err := f.Read(head)
	if err != nil {
		return 0, err
	}
	return parseAcceptQueue(string(head[:n]), uint16(number))
}

// parseAcceptQueue finds the line of the listener. Its fifth field is of the form tx_queue:rx_queue, and
// of a listener the latter is its queue.
func parseAcceptQueue(table string, port uint16) (int, error) {
	const listening = "0A"
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 5 || f[3] != listening || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			continue
		}
		_, queue, _ := strings.Cut(f[4], ":")
		n, err := strconv.ParseUint(queue, 16, 31)
		return int(n), err
	}
	return 0, errNoListener
}
