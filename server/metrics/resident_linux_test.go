package metrics

import (
	"syscall"
	"testing"
)

// TestResidentOfThisProcess: the system tells what the process has, in bytes. The memory comes from the
// kernel, because what the heap had before it may have again without growing.
func TestResidentOfThisProcess(t *testing.T) {
	before, ok := resident()
	if !ok {
		t.Skip("the system does not tell")
	}
	const more = 64 << 20
	block, err := syscall.Mmap(-1, 0, more, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(block)
	after, _ := resident()
	if grown := after - before; grown < more/2 || grown > 2*more {
		t.Errorf("%d bytes made it grow by %v", more, grown)
	}
}
