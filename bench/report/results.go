package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/bench/million"
)

// results are those of a folder.
type results struct {
	comparisons []*bench.Comparison // in the order in which they were made, series by their values
	servers     []string            // of all comparisons, in the order of the widest one
	million     *million.Result     // nil if there is none
}

// load reads a folder. An error names the file.
func load(dir string) (*results, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	r := &results{}
	if r.million, err = loadMillion(dir); err != nil {
		return nil, err
	}
	for _, file := range files {
		if filepath.Base(file) == millionFile {
			continue
		}
		c, err := bench.ReadComparison(file)
		if err != nil {
			return nil, err
		}
		if c.Name+".json" != filepath.Base(file) {
			return nil, fmt.Errorf("%s: it has the comparison %s", file, c.Name)
		}
		r.comparisons = append(r.comparisons, c)
	}
	if len(r.comparisons) == 0 {
		return nil, fmt.Errorf("%s: there are no results", dir)
	}
	r.sort()
	r.listServers()
	return r, nil
}

// sort puts a series where its first comparison is.
func (r *results) sort() {
	first := map[string]int64{}
	for _, c := range r.comparisons {
		at := c.Started.UnixNano()
		if t, ok := first[series(c)]; !ok || at < t {
			first[series(c)] = at
		}
	}
	slices.SortFunc(r.comparisons, func(a, b *bench.Comparison) int {
		return cmp.Or(
			cmp.Compare(first[series(a)], first[series(b)]),
			cmp.Compare(series(a), series(b)),
			cmp.Compare(value(a), value(b)),
			a.Started.Compare(b.Started),
			cmp.Compare(a.Name, b.Name),
		)
	})
}

func series(c *bench.Comparison) string {
	if c.Point != nil {
		return c.Point.Series
	}
	return c.Name
}

func value(c *bench.Comparison) float64 {
	if c.Point != nil {
		return c.Point.Value
	}
	return 0
}

// listServers begins with the comparison that has most of them.
func (r *results) listServers() {
	widest := slices.MaxFunc(r.comparisons, func(a, b *bench.Comparison) int { return len(a.Servers) - len(b.Servers) })
	for _, c := range append([]*bench.Comparison{widest}, r.comparisons...) {
		for _, s := range c.Servers {
			if !slices.Contains(r.servers, s.Name) {
				r.servers = append(r.servers, s.Name)
			}
		}
	}
}

// named is the comparison with the name; nil if there is none.
func (r *results) named(name string) *bench.Comparison {
	i := slices.IndexFunc(r.comparisons, func(c *bench.Comparison) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return r.comparisons[i]
}

// series are the comparisons that are points of one.
func (r *results) series(name string) (all []*bench.Comparison) {
	for _, c := range r.comparisons {
		if c.Point != nil && c.Point.Series == name {
			all = append(all, c)
		}
	}
	return all
}

// versions of a server, usually one.
func (r *results) versions(server string) (all []string) {
	for _, c := range r.comparisons {
		if s := c.Server(server); s != nil && s.Version != "" && !slices.Contains(all, s.Version) {
			all = append(all, s.Version)
		}
	}
	return all
}
