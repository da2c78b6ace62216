package main

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is a plot and what is said about it.
type figure struct {
	id    string
	title string
	text  string // how to read it
	x, y  axis
	lines []line
	keys  []line // that are in the legend only

	svg    template.HTML
	legend []entry
}

// axis is one of the two.
type axis struct {
	label string // with the unit
	log   bool
	zero  bool        // it begins at 0, unless it is logarithmic
	ticks []plot.Tick // nil for such as fit
	names []string    // for an axis of names, from the bottom up
}

// line is what is drawn of a server, or of something else.
type line struct {
	name   string // in the legend; empty for none
	style  style
	points plotter.XYs
	bare   bool        // markers only
	marks  plotter.XYs // where the markers are; nil for at all points
}

// entry is a line of the legend: a sample of the line, and a name.
type entry struct {
	Sample template.HTML
	Name   string
}

// A plot fills the width of a telephone or half of a page; its letters are as large as on one.
const (
	figureWidth  = vg.Length(400)
	figureHeight = vg.Length(280)
	rowHeight    = vg.Length(22) // of an axis of names
	labelSize    = vg.Length(12)
	tickSize     = vg.Length(11)
	markerSize   = vg.Length(3.2)
)

var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

// render draws the plot and the samples of its legend.
func (f *figure) render() error {
	height := figureHeight
	if n := len(f.y.names); n > 0 {
		height = 70 + rowHeight*vg.Length(n)
	}
	p := plot.New()
	p.BackgroundColor = color.Transparent
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = grid, grid
	g.Vertical.Width, g.Horizontal.Width = 0.5, 0.5
	p.Add(g)
	for _, l := range f.lines {
		if err := f.add(p, l); err != nil {
			return fmt.Errorf("plot %s: %w", f.id, err)
		}
	}
	f.x.set(&p.X)
	f.y.set(&p.Y)
	canvas := vgsvg.New(figureWidth, height)
	p.Draw(draw.Crop(draw.New(canvas), 2, -12, 2, -8))
	f.svg = svg(canvas, f.id, f.title, f.text)
	return f.explain()
}

func (f *figure) add(p *plot.Plot, l line) error {
	stroke, markers, err := l.plotters()
	if err != nil {
		return err
	}
	if !l.bare {
		p.Add(stroke)
	}
	if l.style.shape != nil {
		p.Add(markers)
	}
	return nil
}

// plotters are those of the library.
func (l line) plotters() (*plotter.Line, *plotter.Scatter, error) {
	stroke, err := plotter.NewLine(l.points)
	if err != nil {
		return nil, nil, err
	}
	stroke.LineStyle = draw.LineStyle{Color: l.style.color, Width: 1.6, Dashes: l.style.dashes}
	at := l.points
	if l.marks != nil {
		at = l.marks
	}
	markers, err := plotter.NewScatter(at)
	if err != nil {
		return nil, nil, err
	}
	markers.GlyphStyle = draw.GlyphStyle{Color: l.style.color, Radius: markerSize, Shape: l.style.shape}
	return stroke, markers, nil
}

// explain fills the legend.
func (f *figure) explain() error {
	for _, l := range slices.Concat(f.lines, f.keys) {
		if l.name == "" {
			continue
		}
		if l.points == nil {
			l.points = make(plotter.XYs, 1) // the library wants some
		}
		stroke, markers, err := l.plotters()
		if err != nil {
			return err
		}
		thumbs := []plot.Thumbnailer{markers}
		if !l.bare {
			thumbs = append(thumbs, stroke)
		}
		f.legend = append(f.legend, entry{sample(thumbs), l.name})
	}
	return nil
}

// sample is as the library draws it into legends of its own, which would lie on the lines.
func sample(thumbs []plot.Thumbnailer) template.HTML {
	const width, height = 34, 12
	canvas := vgsvg.New(width, height)
	c := draw.New(canvas)
	for _, t := range thumbs {
		t.Thumbnail(&c)
	}
	return svg(canvas, "", "", "")
}

func (a axis) set(x *plot.Axis) {
	x.Label.Text = a.label
	x.Label.Padding = 4
	x.Padding = 3
	x.Tick.Length = 4
	for _, s := range []*text.Style{&x.Label.TextStyle, &x.Tick.Label} {
		s.Color, s.Font = ink, font.From(sans, labelSize)
	}
	x.Tick.Label.Font.Size = tickSize
	x.LineStyle.Color, x.Tick.LineStyle.Color = ink, ink
	switch {
	case a.names != nil:
		var ticks plot.ConstantTicks
		for i, name := range a.names {
			ticks = append(ticks, plot.Tick{Value: float64(i), Label: name})
		}
		x.Tick.Marker, x.Tick.LineStyle.Color = ticks, color.Transparent
		x.Min, x.Max = -0.6, float64(len(a.names))-0.4
	case a.log:
		x.Scale = plot.LogScale{}
		x.Tick.Marker = plot.TickerFunc(logTicks)
		x.Min, x.Max = x.Min/1.15, x.Max*1.15
	default:
		x.Tick.Marker = plot.TickerFunc(linearTicks)
		if a.zero {
			x.Min = 0
		}
		x.Max += (x.Max - x.Min) * 0.04
	}
	if a.ticks != nil {
		x.Tick.Marker = plot.ConstantTicks(a.ticks)
	}
}

// logTicks have labels at each power of ten, and over less wide ranges between them, too.
func logTicks(low, high float64) (all []plot.Tick) {
	labelled := "1"
	switch decades := math.Log10(high / low); {
	case decades < 1:
		labelled = "12357"
	case decades < 2.5:
		labelled = "125"
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	for e := from; e <= to; e++ {
		for m := 1; m < 10; m++ {
			t := plot.Tick{Value: float64(m) * math.Pow(10, e)}
			if t.Value < low || t.Value > high {
				continue
			}
			if strings.Contains(labelled, strconv.Itoa(m)) {
				t.Label = tickLabel(t.Value)
			}
			all = append(all, t)
		}
	}
	return all
}

// linearTicks are four to eight at multiples of 1, 2 or 5, with thousands grouped.
func linearTicks(low, high float64) (all []plot.Tick) {
	power := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	step := power
	for _, times := range []float64{2, 5} {
		if (high-low)/(times*power) >= 4 {
			step = times * power
		}
	}
	for i := math.Ceil(low / step); i*step <= high; i++ {
		all = append(all, plot.Tick{Value: i * step, Label: tickLabel(i * step)})
	}
	return all
}

func tickLabel(v float64) string {
	digits := 0
	for digits < 4 && math.Abs(v*math.Pow10(digits)-math.Round(v*math.Pow10(digits))) > 1e-6 {
		digits++
	}
	return number(v, digits)
}

var (
	svgHead   = regexp.MustCompile(`(?s)^.*<svg [^>]*viewBox="([^"]*)"[^>]*>`)
	svgFamily = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:normal;font-style:normal;?`)
)

// svg is the picture to be put into a page: named for those who don't see it, as wide as there is room,
// its colours and its font those of the page.
func svg(canvas *vgsvg.Canvas, id, title, text string) template.HTML {
	var b bytes.Buffer
	_, _ = canvas.WriteTo(&b) // a buffer takes everything
	s := b.String()
	box := svgHead.FindStringSubmatch(s)[1]
	head := fmt.Sprintf(`<svg viewBox="%s" aria-hidden="true">`, box)
	if id != "" {
		head = fmt.Sprintf(`<svg viewBox="%s" role="img" aria-labelledby="%s-title %s-text"><title id="%s-title">%s</title><desc id="%s-text">%s</desc>`,
			box, id, id, id, html.EscapeString(title), id, html.EscapeString(text))
	}
	s = head + svgHead.ReplaceAllString(s, "")
	s = svgFamily.ReplaceAllString(s, "")
	return template.HTML(strings.TrimSpace(variables.Replace(s)))
}

// variables takes the place of colours.
var variables = func() *strings.Replacer {
	var pairs []string
	for _, t := range tones {
		pairs = append(pairs, strings.ToUpper(t.light), "var("+t.name+")")
	}
	return strings.NewReplacer(pairs...)
}()
