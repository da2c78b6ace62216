package stress

import (
	"context"
	"time"

	"github.com/stillpool/stillpool/bench"
	"github.com/stillpool/stillpool/server"
)

// Spell is how those that stay fared for a while.
type Spell struct {
	Seconds  float64           `json:"seconds"`
	Messages int64             `json:"messages"`
	Missing  int64             `json:"missing"`
	Lateness bench.Percentiles `json:"lateness"` // as the client sees it
	Server   View              `json:"server"`
}

// spells are one after the other, without a gap.
type spells struct {
	stay  *bench.Subscribers
	of    Handle
	since time.Time
	stats server.Stats
}

// beginSpells begins the first.
func beginSpells(ctx context.Context, stay *bench.Subscribers, of Handle, every time.Duration) (*spells, error) {
	s := &spells{stay: stay, of: of, since: time.Now()}
	stay.Listen(every)
	var err error
	s.stats, err = of.stats(ctx)
	return s, err
}

// next ends one, and begins another.
func (s *spells) next(ctx context.Context) (*Spell, error) {
	heard, now := s.stay.Cut(), time.Now()
	st, err := s.of.stats(ctx)
	if err != nil {
		return nil, err
	}
	spell := &Spell{
		Seconds: now.Sub(s.since).Seconds(), Messages: heard.Messages, Missing: heard.Missing,
		Lateness: heard.Lateness.Percentiles(), Server: viewOf(s.stats, st),
	}
	s.since, s.stats = now, st
	return spell, nil
}
