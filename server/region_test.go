//go:build linux

package server

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
)

// resident is how much memory of the process lies in a region, by what the kernel says.
func resident(t *testing.T, r *region) (bytes int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	must(t, err)
	start := uint64(addressOf(r.mem))
	inside := false
	for line := range strings.Lines(string(smaps)) {
		if from, to, ok := span(line); ok {
			inside = from < start+uint64(len(r.mem)) && start < to
		} else if kb, ok := strings.CutPrefix(line, "Rss:"); ok && inside {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(kb), " kB"))
			must(t, err)
			bytes += n << 10
		}
	}
	return bytes
}

// span reads the first line of a mapping.
func span(line string) (from, to uint64, ok bool) {
	addresses, _, _ := strings.Cut(line, " ")
	a, b, ok := strings.Cut(addresses, "-")
	from, err1 := strconv.ParseUint(a, 16, 64)
	to, err2 := strconv.ParseUint(b, 16, 64)
	return from, to, ok && err1 == nil && err2 == nil
}

// TestRegionTakesWhatIsWritten, page by page, and gives it back.
func TestRegionTakesWhatIsWritten(t *testing.T) {
	const size = 512 << 20 // one of its own: neighbours would be counted too
	r := reserve(size)
	if r == nil {
		t.Skip("this kernel reserves no memory")
	}
	before := resident(t, r)
	for i := 0; i < 1<<20; i += 4096 {
		r.mem[i] = 1
	}
	if grown := resident(t, r) - before; grown < 1<<20 || grown > 2<<20 {
		t.Errorf("1 MiB was written, and %d taken", grown)
	}
	r.retain()
	r.release()
	if grown := resident(t, r) - before; grown < 1<<20 {
		t.Errorf("given back while somebody has it: %d are left", grown)
	}
	r.release()
	if left := resident(t, r) - before; left > 0 {
		t.Errorf("%d bytes are left", left)
	}
	again := reserve(size)
	if again == r || &again.mem[0] != &r.mem[0] || again.mem[0] != 0 {
		t.Error("the reservation was not kept for the next, empty")
	}
	again.release()
}

// TestRegionConsumed: of what is sent piece by piece, only the rest takes memory; unless somebody else
// has it too.
func TestRegionConsumed(t *testing.T) {
	const size, written = 256 << 20, 1 << 20
	r := reserve(size)
	if r == nil {
		t.Skip("this kernel reserves no memory")
	}
	defer r.release()
	body := append(r.mem[100:100], noise(written)...)
	b := new(backlog)
	b.share(body, r, frames, 0)
	defer b.recycle()
	b.sent(written / 2)
	if has := resident(t, r); has < written {
		t.Errorf("two have it, and %d bytes of %d are left", has, written)
	}
	r.users.Add(-1)
	defer r.users.Add(1)
	b.sent(written / 4)
	if has := resident(t, r); has > written/4+3*os.Getpagesize() {
		t.Errorf("%d bytes take %d", b.bytes(), has)
	}
	if rest := b.vectors(make([][]byte, 0, 1))[0]; !bytes.Equal(rest, noise(written)[written/4*3:]) {
		t.Error("what is left to be sent changed")
	}
}

// TestRegionMisused: who does not have it can't retain or release it.
func TestRegionMisused(t *testing.T) {
	t.Parallel()
	for name, misuse := range map[string]func(r *region){
		"released twice": func(r *region) { r.release() },
		"retained late":  func(r *region) { r.retain() },
	} {
		t.Run(name, func(t *testing.T) {
			r := reserve(1 << 20)
			if r == nil {
				t.Skip("this kernel reserves no memory")
			}
			r.release()
			reserve(1 << 20).release() // somebody else had the same memory meanwhile
			defer func() {
				if recover() == nil {
					t.Error("it did not panic")
				}
			}()
			misuse(r)
		})
	}
}
