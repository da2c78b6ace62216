package server

import (
	"sync"
	"sync/atomic"

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
	// regionsKept is how many reservations of a size are kept for the next messages. They hold no
	// memory, only their place: a handler that reads a message after it returned, against its
	// contract, then mostly finds zeros, and not a fault that ends the process.
	regionsKept = 256
)

// region is reserved for one message, by everybody who has retained it.
type region struct {
	mem   []byte
	size  int // the exponent of len(mem)
	users atomic.Int32
}

// regions are those that nobody uses, by the exponent of their length.
var regions struct {
	mu   sync.Mutex
	free [64][]*region
}

// reserve gives a region of n bytes or more, to be released. It is nil where the kernel refuses, and
// then the heap must do.
func reserve(n int) *region {
	size := exponent(n)
	regions.mu.Lock()
	free := &regions.free[size]
	if last := len(*free) - 1; last >= 0 {
		r := (*free)[last]
		*free = (*free)[:last]
		regions.mu.Unlock()
		r.users.Store(1)
		return r
	}
	regions.mu.Unlock()
	return mapRegion(size)
}

// exponent is that of the smallest power of two that is n or more.
func exponent(n int) int {
	size := 0
	for 1<<size < n {
		size++
	}
	return size
}

func mapRegion(size int) *region {
	mem, err := unix.Mmap(-1, 0, 1<<size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	// A huge page would take two megabytes for the first byte.
	if err := unix.Madvise(mem, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL {
		unix.Munmap(mem)
		return nil
	}
	r := &region{mem: mem, size: size}
	r.users.Store(1)
	return r
}

// retain lets one more user have r, who is to release it. Only a user can retain it.
func (r *region) retain() {
	if r != nil && r.users.Add(1) == 1 {
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
	if unix.Madvise(r.mem, unix.MADV_DONTNEED) != nil || !r.keep() {
		unix.Munmap(r.mem)
	}
}

// keep puts r among those that nobody uses, unless there are enough.
func (r *region) keep() bool {
	regions.mu.Lock()
	defer regions.mu.Unlock()
	free := &regions.free[r.size]
	if len(*free) >= regionsKept {
		return false
	}
	*free = append(*free, r)
	return true
}
