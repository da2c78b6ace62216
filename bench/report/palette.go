package main

import (
	"image/color"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// style is how a server looks in every plot: no two have the same marker, so that they can be told apart
// in grey, too.
type style struct {
	color  color.RGBA
	dashes []vg.Length
	shape  draw.GlyphDrawer
}

// tone is a colour on paper and one on a dark screen. What is drawn in the first becomes a variable of
// the page's style sheet, which has both.
type tone struct {
	name        string
	light, dark string
}

// tones of lines can be told apart by who does not see red or green, and by how bright they are. The
// last three are those of axes, grids and paper.
var tones = []tone{
	{"--s0", "#0a5fa8", "#62b0f4"},
	{"--s1", "#d2570f", "#f49a5c"},
	{"--s2", "#00806a", "#3fc7a8"},
	{"--s3", "#a23d87", "#e08ac8"},
	{"--s4", "#8a6d00", "#d6b83c"},
	{"--s5", "#3b3f9f", "#9ea3f2"},
	{"--s6", "#a3162b", "#f2808f"},
	{"--s7", "#4f7f1c", "#9fd062"},
	{"--s8", "#5f6b76", "#aab4bd"},
	{"--s9", "#14505a", "#6fb9c4"},
	{"--ink", "#1b1f24", "#e3e7eb"},
	{"--grid", "#cfd6dd", "#3a424a"},
}

var (
	ink  = hex(tones[len(tones)-2].light)
	grid = hex(tones[len(tones)-1].light)
)

const lineTones = 10

var dashes = [][]vg.Length{nil, {7, 3}, {2, 2}, {9, 3, 2, 3}, {4, 2}, {11, 3, 2, 3, 2, 3}, {1, 3}}

// styleOf is the server's, by its place among all of them.
func (r *results) styleOf(server string) style {
	i := max(0, slices.Index(r.servers, server))
	return style{
		color:  hex(tones[i%lineTones].light),
		dashes: dashes[i%len(dashes)],
		shape:  markers[i%len(markers)],
	}
}

func hex(s string) color.RGBA {
	digit := func(i int) uint8 {
		c := s[i]
		if c >= 'a' {
			return c - 'a' + 10
		}
		return c - '0'
	}
	return color.RGBA{digit(1)<<4 | digit(2), digit(3)<<4 | digit(4), digit(5)<<4 | digit(6), 255}
}
