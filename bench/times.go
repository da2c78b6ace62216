package bench

import "github.com/HdrHistogram/hdrhistogram-go"

// Times are many times, kept so that percentiles can be told, and those of several processes added
// up: as text they are a compressed HdrHistogram (V2, base64). The zero value has none.
type Times struct{ h *hdrhistogram.Histogram }

// Add takes in others.
func (t *Times) Add(others Times) {
	if others.h != nil {
		t.take(others.h)
	}
}

// take copies, because a histogram that is merged stays the property of who counts.
func (t *Times) take(h *hdrhistogram.Histogram) {
	if t.h == nil {
		t.h = newHistogram()
	}
	t.h.Merge(h)
}

// Count is how many times there are.
func (t Times) Count() int64 {
	if t.h == nil {
		return 0
	}
	return t.h.TotalCount()
}

// Percentiles of them, all zero if there are none.
func (t Times) Percentiles() Percentiles {
	if t.h == nil {
		return Percentiles{}
	}
	return percentilesOf(t.h)
}

// MarshalText is for JSON.
func (t Times) MarshalText() ([]byte, error) {
	if t.h == nil {
		return nil, nil
	}
	return t.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText reads what MarshalText wrote.
func (t *Times) UnmarshalText(text []byte) (err error) {
	if t.h = nil; len(text) > 0 {
		t.h, err = hdrhistogram.Decode(text)
	}
	return err
}
