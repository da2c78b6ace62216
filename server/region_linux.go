package server

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory of large messages. A region reserves address space for the largest possible size of a message.
// The kernel adds pages as bytes are written, and gets them back when the region is released. So a
// growing message is never copied, takes no more pages than it has bytes, and leaves no garbage. Safe
// for concurrent use.

const (
	// regionFrom is the length in bytes from which a message has a region. Below it, the heap is
	// quicker than the kernel.
	regionFrom = 64 << 10
	// reservesKept is the number of reservations of each size that are kept for the next messages.
	// They hold address space and no memory. A handler that reads a message after it returned, against
	// its contract, then mostly finds zeros, and not a fault that ends the process.
	reservesKept = 256
)

// region holds one message. Each user that retained it owns a share, counted by users.
type region struct {
	mem   []byte
	users atomic.Int32
}

// reserves holds the unused reservations, by the exponent of their length.
var reserves struct {
	mu   sync.Mutex
	free [64][][]byte
}

// reserve returns a region of n bytes or more, which the caller must release. It returns nil when the
// kernel refuses; the caller then uses the heap.
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

// exponent returns the exponent of the smallest power of two that is n or more.
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

// keepReserve keeps a reservation for a later message, unless there are enough.
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

// holds reports whether p lies in r.
func (r *region) holds(p []byte) bool {
	if r == nil || len(p) == 0 {
		return false
	}
	start, at := addressOf(r.mem), addressOf(p)
	return at >= start && at+uintptr(len(p)) <= start+uintptr(len(r.mem))
}

func addressOf(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// retain adds a user, which must release r. Only a current user may call it.
func (r *region) retain() {
	if r != nil && r.users.Add(1) == 1 {
		r.users.Store(0)
		panic("server: message forwarded after its handler returned")
	}
}

// release removes a user. The last one returns the pages to the kernel.
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

// consumed returns the pages before rest to the kernel. The only user of r must not need them any more.
func (r *region) consumed(rest []byte) {
	if r == nil || r.users.Load() > 1 {
		return
	}
	if n := int(addressOf(rest)-addressOf(r.mem)) &^ (os.Getpagesize() - 1); n > 0 {
		unix.Madvise(r.mem[:n], unix.MADV_DONTNEED)
	}
}
