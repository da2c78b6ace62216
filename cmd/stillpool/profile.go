package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pkg/profile"
)

// profileModes are what --profile takes: the options of pkg/profile, and the file that it writes.
// MemProfileHeap and MemProfileAllocs on their own leave the rate at zero, which records nothing;
// MemProfile before them sets it.
var profileModes = map[string]struct {
	file    string
	options []func(*profile.Profile)
}{
	"cpu":       {"cpu.pprof", options{profile.CPUProfile}},
	"heap":      {"mem.pprof", options{profile.MemProfile, profile.MemProfileHeap}},
	"allocs":    {"mem.pprof", options{profile.MemProfile, profile.MemProfileAllocs}},
	"mutex":     {"mutex.pprof", options{profile.MutexProfile}},
	"block":     {"block.pprof", options{profile.BlockProfile}},
	"goroutine": {"goroutine.pprof", options{profile.GoroutineProfile}},
	"threads":   {"threadcreation.pprof", options{profile.ThreadcreationProfile}},
	"trace":     {"trace.out", options{profile.TraceProfile}},
	"clock":     {"clock.pprof", options{profile.ClockProfile}},
}

type options = []func(*profile.Profile)

// startProfile begins a profile in dir and answers how to end it, which writes the file, and the
// file's name. The empty mode is none.
//
// pkg/profile would end the process on SIGINT by itself, before connections are drained, and it
// ends it on any trouble with the file. So its hook is off, and the file is tried first.
func startProfile(mode, dir string) (stop func(), file string, err error) {
	if mode == "" {
		return func() {}, "", nil
	}
	m := profileModes[mode]
	file = filepath.Join(dir, m.file)
	if err := tryFile(file); err != nil {
		return nil, "", fmt.Errorf("can't write the profile: %w", err)
	}
	common := options{profile.ProfilePath(dir), profile.NoShutdownHook, profile.Quiet}
	return profile.Start(append(common, m.options...)...).Stop, file, nil
}

// tryFile makes sure that file can be written.
func tryFile(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	return f.Close()
}
