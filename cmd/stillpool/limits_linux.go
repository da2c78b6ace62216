package main

import "golang.org/x/sys/unix"

// raiseDescriptors raises the soft limit of descriptors to the hard one, and answers it. Go does so
// at start, too, but says nothing about it.
func raiseDescriptors() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	if limit.Cur == limit.Max {
		return limit.Cur, nil
	}
	have := limit.Cur
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return have, err
	}
	return limit.Max, nil
}
