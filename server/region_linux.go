package server

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is the memory of large messages. A region is a reservation of address space, as long as
// the message can become; pages of it are taken by the kernel as bytes are written there, and go back
// to it at once when the region is let go. So a message that grows is never copied, never lies in
// memory twice, is not taken for longer than it came to, and leaves nothing to the collector. Any
// goroutine may run it.

const (
	// regionFrom is the length in bytes from which a message has a region. Below it, the heap is
	// quicker than the kernel.
	regionFrom = 64 << 10
	// reservesKept is how many reservations of a size are kept for the next messages. They hold no
	// memory, only their place: a handler that reads a message after it returned, against its
	// contract, then mostly finds zeros, and not a fault that ends the process.
	reservesKept = 256
)

// region is one message's, and belongs to everybody who has retained it.
type region struct {
	mem   []byte
	users atomic.Int32
}

// reserves are the reservations that nobody uses, by the exponent of their length.
var reserves struct {
	mu   sync.Mutex
	free [64][][]byte
}

// reserve gives a region of n bytes or more, to be released. It is nil where the kernel refuses, and
// then the heap must do.
func reserve(n int) *region {
	size := exponent(n)
	mem := takeReserve(size)
	if mem == nil {
		mem = mapReserve(size)
	}
	if mem == nil {
		return nil
	}
	r := &region{mem: mem}
	r.users.Store(1)
	return r
}

// exponent is that of the smallest power of two that is n or more.
func exponent(n int) int {
	size := 0
	for 1<<size < n {
		size++
	}
	return size
}

func takeReserve(size int) (mem []byte) {
	reserves.mu.Lock()
	defer reserves.mu.Unlock()
	free := &reserves.free[size]
	if last := len(*free) - 1; last >= 0 {
		mem, *free = (*free)[last], (*free)[:last]
	}
	return mem
}

// keepReserve keeps a reservation for the next, unless there are enough.
func keepReserve(mem []byte) bool {
	reserves.mu.Lock()
	defer reserves.mu.Unlock()
	free := &reserves.free[exponent(len(mem))]
	if len(*free) >= reservesKept {
		return false
	}
	*free = append(*free, mem)
	return true
}

func mapReserve(size int) []byte {
	mem, err := unix.Mmap(-1, 0, 1<<size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	// A huge page would take two megabytes for the first byte.
	if err := unix.Madvise(mem, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL {
		unix.Munmap(mem)
		return nil
	}
	return mem
}

// holds tells whether p lies in r.
func (r *region) holds(p []byte) bool {
	if r == nil || len(p) == 0 {
		return false
	}
	start, at := addressOf(r.mem), addressOf(p)
	return at >= start && at+uintptr(len(p)) <= start+uintptr(len(r.mem))
}

func addressOf(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// retain lets one more user have r, who is to release it. Only a user can retain it.
func (r *region) retain() {
	if r != nil && r.users.Add(1) == 1 {
		r.users.Store(0)
		panic("server: message forwarded after its handler returned")
	}
}

// release is for each user who had r. The last one gives its pages back to the kernel.
func (r *region) release() {
	if r == nil {
		return
	}
	switch left := r.users.Add(-1); {
	case left > 0:
		return
	case left < 0:
		panic("server: region released twice")
	}
	if unix.Madvise(r.mem, unix.MADV_DONTNEED) != nil || !keepReserve(r.mem) {
		unix.Munmap(r.mem)
	}
}

// consumed gives back the pages before rest, which the only user of r needs no more.
func (r *region) consumed(rest []byte) {
	if r == nil || r.users.Load() > 1 {
		return
	}
	if n := int(addressOf(rest)-addressOf(r.mem)) &^ (os.Getpagesize() - 1); n > 0 {
		unix.Madvise(r.mem[:n], unix.MADV_DONTNEED)
	}
}
