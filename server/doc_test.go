package server

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocNamesFiles: the package comment is the map of the package. The files that it names exist,
// and it names them all.
func TestDocNamesFiles(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b[a-z0-9_]+\.go\b`).FindAllString(string(text), -1)
	for _, name := range named {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("doc.go names a file that is not there: %v", err)
		}
	}
	for _, name := range sources(t, ".") {
		if name != "doc.go" && !slices.Contains(named, name) {
			t.Errorf("doc.go does not say what %s is", name)
		}
	}
}

// sources are the Go files of a directory, but for tests.
func sources(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
}

// TestEverythingIsDocumented: every exported name says what it promises, in a comment of its own or,
// for constants and variables, of its group or at the end of its line.
func TestEverythingIsDocumented(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{".", "wheel", "metrics", "../netpoll"} {
		undocumented(t, dir, func(pos token.Position, name string) {
			t.Errorf("%s: %s has no comment", pos, name)
		})
	}
}

// undocumented reports the exported names of a package that have no comment.
func undocumented(t *testing.T, dir string, report func(token.Position, string)) {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range sources(t, dir) {
		if strings.HasSuffix(name, "other.go") || strings.HasSuffix(name, "_other.go") {
			continue // the twins of what is documented for Linux
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, "example.test/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	say := func(n ast.Node, name string) { report(fset.Position(n.Pos()), name) }
	if p.Doc == "" {
		say(files[0], "package "+p.Name)
	}
	values(p.Consts, say)
	values(p.Vars, say)
	funcs(p.Funcs, "", say)
	for _, typ := range p.Types {
		if typ.Doc == "" {
			say(typ.Decl, typ.Name)
		}
		values(typ.Consts, say)
		values(typ.Vars, say)
		funcs(typ.Funcs, "", say)
		funcs(typ.Methods, typ.Name+".", say)
		members(fset, typ, say)
	}
}

// values reports exported constants and variables. The comment of a group counts for its members.
func values(all []*doc.Value, say func(ast.Node, string)) {
	for _, v := range all {
		for _, spec := range v.Decl.Specs {
			s := spec.(*ast.ValueSpec)
			for _, name := range s.Names {
				if name.IsExported() && v.Doc == "" && s.Doc == nil && s.Comment == nil {
					say(name, name.Name)
				}
			}
		}
	}
}

func funcs(all []*doc.Func, prefix string, say func(ast.Node, string)) {
	for _, f := range all {
		if f.Doc == "" {
			say(f.Decl, prefix+f.Name)
		}
	}
}

// members reports fields of structs and methods of interfaces. Those of a type that takes one line
// are in the type's comment.
func members(fset *token.FileSet, typ *doc.Type, say func(ast.Node, string)) {
	spec := typ.Decl.Specs[0].(*ast.TypeSpec)
	if fset.Position(spec.Pos()).Line == fset.Position(spec.End()).Line {
		return
	}
	var list []*ast.Field
	switch x := spec.Type.(type) {
	case *ast.StructType:
		list = x.Fields.List
	case *ast.InterfaceType:
		list = x.Methods.List
	}
	for _, f := range list {
		for _, name := range f.Names {
			if name.IsExported() && f.Doc == nil && f.Comment == nil {
				say(name, typ.Name+"."+name.Name)
			}
		}
	}
}
