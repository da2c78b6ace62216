package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestReadme builds the README's program, and one that mounts an endpoint as the README says, in
// modules of their own beside this one.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) != 2 {
		t.Fatalf("the README has %d blocks of Go, not the program and the mounting", len(blocks))
	}
	t.Run("program", func(t *testing.T) { buildOutside(t, string(blocks[0][1])) })
	t.Run("mounted", func(t *testing.T) {
		buildOutside(t, `package main

import (
	"net/http"

	"github.com/stillpool/stillpool/server"
)

func main() {
	mux := http.NewServeMux()
	`+string(blocks[1][1])+`
	http.ListenAndServe("localhost:8080", mux)
}
`)
	})
}

// buildOutside builds a program as its user would, with replace.
func buildOutside(t *testing.T, program string) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.go": program,
		"go.sum":  string(sums),
		"go.mod": "module example.com/user\n\ngo 1.26\n\n" +
			"require github.com/stillpool/stillpool v0.0.0\n\n" +
			"replace github.com/stillpool/stillpool => " + root + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-mod=mod", "-o", filepath.Join(dir, "program"), ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	inherits(t, mod)
}

// inherits holds what a user's go.mod has come to require against what package server imports: that
// of the command, of the benchmark and of package metrics is not for those who only embed.
func inherits(t *testing.T, mod []byte) {
	t.Helper()
	var got []string
	for _, line := range regexp.MustCompile(`(?m)^(?:require)?\s+(\S+) v\S+`).FindAllSubmatch(mod, -1) {
		got = append(got, string(line[1]))
	}
	want := []string{"github.com/gobwas/httphead", "github.com/gobwas/ws", "github.com/klauspost/compress",
		"github.com/mailru/easygo", "github.com/stillpool/stillpool", "golang.org/x/sys"}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("who embeds package server requires\n%v, want\n%v", got, want)
	}
}
