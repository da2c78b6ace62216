package soak

import (
	"math/rand/v2"
	"slices"
)

// decks deal what clients do. All that there is comes up once before it comes up again, in an order that is
// another each time, so that a run of some hundred clients has had everything.
type decks struct {
	seed                   uint64
	comings, goings, steps []*thing
}

// newDecks may have only some of what there is to do.
func newDecks(seed uint64, some, someGoings []*thing) decks {
	if some == nil {
		some = things
	}
	if someGoings == nil {
		someGoings = goings
	}
	return decks{seed, deckOf(comings), deckOf(someGoings), deckOf(some)}
}

// deckOf has each thing as often as its weight says.
func deckOf(all []*thing) (deck []*thing) {
	for _, t := range all {
		deck = append(deck, slices.Repeat([]*thing{t}, t.weight)...)
	}
	return deck
}

// card is the n-th of the deck, shuffled anew each time that it is used up.
func (d *decks) card(deck []*thing, n uint32) *thing {
	round, i := int(n)/len(deck), int(n)%len(deck)
	r := rand.New(rand.NewPCG(d.seed+uint64(round), uint64(len(deck))))
	return deck[r.Perm(len(deck))[i]]
}

// hand is what a client has to do, and where.
type hand struct {
	place                *place
	coming, first, going *thing
}

func (d *decks) deal(n uint32) hand {
	r := rand.New(rand.NewPCG(d.seed, ^uint64(n)))
	h := hand{coming: d.card(d.comings, n), first: d.card(d.steps, n), going: d.card(d.goings, n)}
	switch {
	case h.going.at != nil:
		h.place = placeAt(h.going.at[r.IntN(len(h.going.at))])
	case h.first.at != nil:
		h.place = placeAt(h.first.at[r.IntN(len(h.first.at))])
	default:
		h.place = places[r.IntN(len(places))]
	}
	for !h.first.suits(h.place) {
		h.first = d.steps[r.IntN(len(d.steps))]
	}
	return h
}

// step is another thing to do for a client.
func (d *decks) step(l *life) *thing {
	for {
		if t := d.steps[l.rng.IntN(len(d.steps))]; t.suits(l.place) {
			return t
		}
	}
}

func (t *thing) suits(p *place) bool { return t.at == nil || slices.Contains(t.at, p.path) }
