package browsertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const (
	isOpen    = `document.getElementById("state").dataset.state === "open"`
	ticks     = `[...document.querySelectorAll("#logs li:not([hidden])")].filter(l => l.textContent.includes("Woohoo!")).length`
	lineCount = `document.querySelectorAll("#logs li:not([hidden])").length`
)

func (p *tab) open(s *running) {
	p.t.Helper()
	p.do(chromedp.Navigate("http://" + s.addr + "/"))
	p.until(isOpen)
}

// search types into the filter, over what was there.
func (p *tab) search(words string) {
	p.t.Helper()
	evaluate[bool](p, `document.getElementById("search").select() ?? true`)
	p.do(chromedp.SendKeys(chromedp.CSS("#search"), words))
}

func TestPage(t *testing.T) {
	p := newTab(t)
	s := serve(t, "127.0.0.1:0")
	p.open(s)
	p.until(ticks + ` >= 3`)
	p.until(`/^last .* ms · median .* ms · worst .* ms$/.test(document.getElementById("lateness-summary").textContent)`)

	p.do(chromedp.Click(chromedp.CSS("#send")))
	p.until(`document.getElementById("sent").textContent === "1"`)
	p.until(`document.getElementById("counted").textContent === "1"`)
	if !strings.Contains(s.journal(), "Got stuff!") {
		t.Errorf("the log lacks the stuff:\n%s", s.journal())
	}

	p.search("SENT {")
	p.until(lineCount + ` === 1 && document.querySelectorAll("#logs li").length > 4`)
	p.until(ticks + ` === 0`)
	p.search("woo")
	p.until(ticks + ` >= 3 && ` + ticks + ` === ` + lineCount)
	p.search("\b")
	p.until(lineCount + ` > ` + ticks)

	p.do(chromedp.Click(chromedp.CSS("#close")))
	p.until(`document.getElementById("state").textContent.startsWith("Closed (1000")`)
	p.until(`document.getElementById("logs").textContent.includes("Closed (1000")`)
	if n := p.webSockets(); n != 1 {
		t.Errorf("%d WebSockets were opened", n)
	}
	p.do(chromedp.Click(chromedp.CSS("#open")))
	p.until(isOpen)
	p.behaved(s.addr)
}

func TestPageComesBack(t *testing.T) {
	p := newTab(t)
	s := serve(t, "127.0.0.1:0")
	p.open(s)
	p.until(ticks + ` >= 1`)
	s.stop()
	p.until(`document.getElementById("logs").textContent.includes("Lost (1001, server is shutting down)")`)
	p.until(`document.getElementById("logs").textContent.includes("Not reached (1006, no closing handshake)")`)
	before := evaluate[int](p, ticks)
	serve(t, s.addr)
	p.until(isOpen)
	p.until(fmt.Sprintf("%s > %d", ticks, before))
}

// After the user's close nothing comes back, also when it comes while the page waits to try again.
func TestPageStaysClosed(t *testing.T) {
	p := newTab(t)
	s := serve(t, "127.0.0.1:0")
	p.open(s)
	s.stop()
	p.until(`document.getElementById("state").dataset.state === "lost"`)
	p.do(chromedp.Click(chromedp.CSS("#close")))
	p.until(`document.getElementById("state").textContent === "Closed"`)
	tried := p.webSockets()
	// Every attempt that could be under way would have been made within two seconds.
	evaluate[bool](p, `new Promise(done => setTimeout(() => done(true), 2000))`)
	if n := p.webSockets(); n != tried {
		t.Errorf("tried %d times more", n-tried)
	}
}

// Nothing is cut off or must be scrolled sideways, from the narrowest phone on.
func TestPageFits(t *testing.T) {
	p := newTab(t)
	s := serve(t, "127.0.0.1:0")
	p.open(s)
	p.until(ticks + ` >= 1`)
	for _, width := range []int64{320, 390, 768, 1280} {
		p.do(chromedp.EmulateViewport(width, 800))
		if wide := evaluate[int64](p, `document.documentElement.scrollWidth`); wide > width {
			t.Errorf("at %d pixels the page is %d wide", width, wide)
		}
		small := evaluate[[]string](p, `[...document.querySelectorAll("button, input")]
			.filter(b => b.getBoundingClientRect().height < 44).map(b => b.id)`)
		if len(small) > 0 {
			t.Errorf("at %d pixels too small for a finger: %q", width, small)
		}
	}
}

// Text stands out from what is behind it by at least 4.5 to 1 (WCAG 2.2, 1.4.3), in both schemes.
func TestPageContrast(t *testing.T) {
	p := newTab(t)
	p.open(serve(t, "127.0.0.1:0"))
	for _, scheme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, media); err != nil {
			t.Fatal(err)
		}
		for _, faint := range evaluate[[]string](p, contrast) {
			t.Errorf("%s: %s", scheme, faint)
		}
	}
}

// contrast lists the pairs of the style sheet's colours that are too close.
const contrast = `(() => {
	const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
	const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
	const luminance = (hex) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) =>
		sum + weight * linear(parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16) / 255), 0);
	const ratio = (a, b) => {
		const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
		return (high + 0.05) / (low + 0.05);
	};
	const pairs = [["on-water", "water"]];
	for (const ink of ["ink", "quiet", "water", "good", "bad", "wait"])
		for (const behind of ["card", "page"]) pairs.push([ink, behind]);
	return pairs.map(([a, b]) => [a, b, ratio(colour(a), colour(b))])
		.filter(([, , r]) => !(r >= 4.5)).map(([a, b, r]) => a + " on " + b + ": " + r.toFixed(2));
})()`
