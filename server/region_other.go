//go:build !linux

package server

// regionFrom is as for Linux.
const regionFrom = 64 << 10

// region is never made here: large messages lie on the heap.
type region struct{ mem []byte }

func reserve(int) *region         { return nil }
func (*region) holds([]byte) bool { return false }
func (*region) retain()           {}
func (*region) release()          {}
func (*region) consumed([]byte)   {}
