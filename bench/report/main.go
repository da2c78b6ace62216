// Command report turns the results of the suite into tables and plots: a folder of JSON files, one a
// comparison, into Markdown and into a page of HTML that needs nothing else.
package main

import (
	"bytes"
	"os"

	"github.com/alecthomas/kong"
)

type cli struct {
	Markdown markdownCmd `cmd:"" help:"Print the results as tables in Markdown."`
	Readme   readmeCmd   `cmd:"" help:"Replace the table in a README by the one of the results."`
	HTML     htmlCmd     `cmd:"" name:"html" help:"Print the results as a page of HTML with plots."`
}

func main() {
	ctx := kong.Parse(&cli{}, kong.Name("report"), kong.UsageOnError(),
		kong.Description("Tables and plots of what was measured."))
	ctx.FatalIfErrorf(ctx.Run())
}

type markdownCmd struct {
	Dir  string `arg:"" help:"Folder of the results."`
	Long bool   `help:"All comparisons with all that was measured, and with the spreads."`
}

// Run implements the subcommand.
func (c *markdownCmd) Run() error {
	r, err := load(c.Dir)
	if err != nil {
		return err
	}
	text := summary(r)
	if c.Long {
		text = longTables(r)
	}
	_, err = os.Stdout.WriteString(text)
	return err
}

type readmeCmd struct {
	Dir    string `arg:"" help:"Folder of the results."`
	Readme string `arg:"" help:"The file, which has the two lines between which the table stands."`
}

// Run implements the subcommand.
func (c *readmeCmd) Run() error {
	r, err := load(c.Dir)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(c.Readme)
	if err != nil {
		return err
	}
	text, err := replaceBetween(string(old), summary(r))
	if err != nil {
		return &os.PathError{Op: "readme", Path: c.Readme, Err: err}
	}
	if text == string(old) {
		return nil
	}
	return os.WriteFile(c.Readme, []byte(text), 0o644)
}

type htmlCmd struct {
	Dir string `arg:"" help:"Folder of the results."`
}

// Run implements the subcommand.
func (c *htmlCmd) Run() error {
	r, err := load(c.Dir)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := writePage(&page, r); err != nil {
		return err
	}
	_, err = page.WriteTo(os.Stdout)
	return err
}
