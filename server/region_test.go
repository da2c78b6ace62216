//go:build linux

package server

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// resident is how much memory of the process lies in a region, by what the kernel says.
func resident(t *testing.T, r *region) (bytes int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	must(t, err)
	start := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(r.mem))))
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
	if again != r || again.mem[0] != 0 {
		t.Error("the reservation was not kept for the next, empty")
	}
	again.release()
}

// TestRegionMisused: who does not have it can't retain or release it.
func TestRegionMisused(t *testing.T) {
	t.Parallel()
	for name, misuse := range map[string]func(r *region){
		"released twice": func(r *region) { r.release() },
		"retained late":  func(r *region) { r.retain() },
	} {
		t.Run(name, func(t *testing.T) {
			r := mapRegion(20)
			if r == nil {
				t.Skip("this kernel reserves no memory")
			}
			r.release()
			regions.mu.Lock()
			free := &regions.free[20]
			for i, f := range *free {
				if f == r { // nobody else may have it meanwhile
					*free = append((*free)[:i], (*free)[i+1:]...)
					break
				}
			}
			regions.mu.Unlock()
			defer func() {
				if recover() == nil {
					t.Error("it did not panic")
				}
			}()
			misuse(r)
		})
	}
}
