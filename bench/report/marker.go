package main

import (
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The markers of the library that are not filled have lines too thin for a small screen.
const markerStroke = vg.Length(1.3)

const quarter = math.Pi / 2

var (
	dot     = draw.CircleGlyph{}
	ring    = shape{corners: 36}
	markers = []draw.GlyphDrawer{
		dot,
		shape{corners: 4, turn: quarter / 2}, // a square
		shape{corners: 3, turn: quarter},     // a triangle
		cross{turn: quarter / 2},
		ring,
		shape{corners: 4, turn: quarter / 2, filled: true},
		shape{corners: 3, turn: quarter, filled: true},
		cross{},
		shape{corners: 4}, // a diamond
		shape{corners: 4, filled: true},
	}
)

// shape is an even polygon. Without a turn a corner is to the right.
type shape struct {
	corners int
	turn    float64
	filled  bool
}

// DrawGlyph implements draw.GlyphDrawer.
func (s shape) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	var p vg.Path
	for i := range s.corners {
		to := corner(at, style.Radius*1.2, s.turn+2*math.Pi*float64(i)/float64(s.corners))
		if i == 0 {
			p.Move(to)
		} else {
			p.Line(to)
		}
	}
	p.Close()
	if s.filled {
		c.Fill(p)
		return
	}
	c.SetLineStyle(draw.LineStyle{Color: style.Color, Width: markerStroke})
	c.Stroke(p)
}

// cross is two lines.
type cross struct{ turn float64 }

// DrawGlyph implements draw.GlyphDrawer.
func (s cross) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	c.SetLineStyle(draw.LineStyle{Color: style.Color, Width: markerStroke})
	for i := range 2 {
		var p vg.Path
		angle := s.turn + float64(i)*quarter
		p.Move(corner(at, style.Radius*1.2, angle))
		p.Line(corner(at, style.Radius*1.2, angle+math.Pi))
		c.Stroke(p)
	}
}

func corner(at vg.Point, radius vg.Length, angle float64) vg.Point {
	return vg.Point{X: at.X + radius*vg.Length(math.Cos(angle)), Y: at.Y + radius*vg.Length(math.Sin(angle))}
}
