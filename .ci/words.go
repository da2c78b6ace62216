//go:build ignore

// Command words counts words that the project does not use in comments, strings and pages: headless actors,
// and phrases for which plain English has a standard one. It prints each place and exits with 1 if there is one.
// Tests, code blocks and quoted code in pages, and this file are left out.
//
//	go run .ci/words.go [folder]
package main

import (
	"bytes"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// banned lists each pattern with what to write in its place.
var banned = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{word(`who|whom|whoever`), "the actor: caller, owner, loop, worker, watchdog, handler, peer, client, proxy, embedder, operator, kernel"},
	{word(`nobody|somebody|anybody|everybody|someone|anyone|everyone`), "the actor"},
	{word(`tells? (whether|that|how|which|what|if)`), "reports whether, returns"},
	{word(`answers? (whether|who|that|how)`), "reports whether, returns"},
	{word(`(is|are|was|were|be|been|being) told`), "receives, reports"},
	{word(`is (how (many|much|long|often|far)|what)`), "the noun: the number of, the duration of"},
	{word(`so (many|much|long)`), "the parameter's name or unit"},
	{word(`at the (most|least)`), "at most, at least"},
	{word(`but for|give or take|in haste|as ever`), "except, within, immediately, as before"},
	{word(`goodbyes?|farewells?|last words|heirs?|newcomers?|turned away`), "the protocol's term"},
	{word(`sees? to it`), "ensures"},
}

func word(alternatives string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(` + alternatives + `)\b`)
}

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	found := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && skipped(d.Name()) && path != root {
				return filepath.SkipDir
			}
			return err
		}
		text, err := prose(path)
		if err != nil {
			return err
		}
		found += report(path, text)
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if found > 0 {
		fmt.Fprintf(os.Stderr, "words: %d places to reword\n", found)
		os.Exit(1)
	}
}

// skipped reports whether a folder holds nothing of the project's own.
func skipped(name string) bool {
	return name == "bin" || name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".") && name != "."
}

// prose returns the part of a file that people read, with every other byte but the line ends blanked.
func prose(path string) ([]byte, error) {
	switch {
	case strings.HasSuffix(path, "_test.go"), filepath.Base(path) == "CHANGELOG.md":
		return nil, nil
	case strings.HasSuffix(path, ".go"):
		src, err := os.ReadFile(path)
		return goProse(src), err
	case strings.HasSuffix(path, ".md"):
		src, err := os.ReadFile(path)
		return pageProse(src), err
	case filepath.Base(path) == "Makefile", strings.HasSuffix(path, ".html"), strings.HasSuffix(path, ".js"):
		return os.ReadFile(path)
	}
	return nil, nil
}

// goProse keeps the comments and strings of a Go file.
func goProse(src []byte) []byte {
	out := blank(src)
	fset := token.NewFileSet()
	file := fset.AddFile("", fset.Base(), len(src))
	var s scanner.Scanner
	s.Init(file, src, nil, scanner.ScanComments)
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return out
		}
		if tok == token.COMMENT || tok == token.STRING {
			at := file.Offset(pos)
			copy(out[at:], src[at:at+len(lit)])
		}
	}
}

var code = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")

// pageProse removes code from a Markdown page.
func pageProse(src []byte) []byte {
	return code.ReplaceAllFunc(bytes.Clone(src), blank)
}

// blank returns src with a space in place of every byte except line ends.
func blank(src []byte) []byte {
	out := bytes.Repeat([]byte{' '}, len(src))
	for i, b := range src {
		if b == '\n' {
			out[i] = b
		}
	}
	return out
}

func report(path string, text []byte) (found int) {
	for i, line := range strings.Split(string(text), "\n") {
		for _, b := range banned {
			if hit := b.pattern.FindString(line); hit != "" {
				fmt.Printf("%s:%d: %q: write %s\n", path, i+1, hit, b.instead)
				found++
			}
		}
	}
	return found
}
