package bench

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocNamesTheFiles keeps the list in doc.go complete and true.
func TestDocNamesTheFiles(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\w+\.go`).FindAllString(string(doc), -1)
	files, _ := filepath.Glob("*.go")
	for _, f := range files {
		special := strings.Contains(f, "_") || f == "doc.go" // a test, or for one system only
		if !special && !slices.Contains(named, f) {
			t.Errorf("doc.go does not name %s", f)
		}
	}
	for _, f := range named {
		if _, err := os.Stat(f); err != nil {
			t.Errorf("doc.go names %s: %v", f, err)
		}
	}
}
