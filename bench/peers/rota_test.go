package main

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// idleRota has nobody who runs it.
func idleRota(send func(int) error) *rota[int] { return &rota[int]{every: time.Second, send: send} }

// TestRotaKeepsOrder: rounds go on in the order of joining, whatever the ring does meanwhile.
func TestRotaKeepsOrder(t *testing.T) {
	var sent []int
	r := idleRota(func(c int) error { sent = append(sent, c); return nil })
	began := time.Now()
	due := func(i int) time.Time { return began.Add(time.Duration(i) * time.Microsecond) }
	const early, late = 1000, 3000 // the ring has 1024 places at first, and its head moves before it grows
	for i := range early {
		r.push(turn[int]{due(i), i})
	}
	for i := range early / 2 {
		turn, wait := r.pop(due(i))
		if wait != 0 {
			t.Fatalf("%d is late by %v", i, -wait)
		}
		r.take(turn)
	}
	// Who joins is due a period from now, after those that are due again.
	for i := early; i < late; i++ {
		r.push(turn[int]{due(i).Add(r.every), i})
	}
	sent = nil
	for range late {
		turn, wait := r.pop(began.Add(10 * r.every))
		if wait != 0 {
			t.Fatalf("%d to wait for", wait)
		}
		r.take(turn)
	}
	want := slices.Concat(numbers(early/2, early), numbers(0, early/2), numbers(early, late))
	if !slices.Equal(sent, want) || r.len() != late {
		t.Errorf("%d turns, not in order: %v", r.len(), sent)
	}
}

func numbers(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func TestRotaWaitsUntilDue(t *testing.T) {
	r := idleRota(func(int) error { return nil })
	now := time.Now()
	if _, wait := r.pop(now); wait <= 0 || wait > r.every {
		t.Errorf("with nobody in it: %v", wait)
	}
	r.push(turn[int]{now.Add(time.Millisecond), 7})
	if _, wait := r.pop(now); wait != time.Millisecond {
		t.Errorf("%v to wait, not a millisecond", wait)
	}
	turn, wait := r.pop(now.Add(time.Millisecond))
	if wait != 0 || turn.conn != 7 {
		t.Errorf("got %v, %v when it is due", turn, wait)
	}
	r.take(turn)
	if turn, _ := r.pop(now.Add(time.Hour)); !turn.due.Equal(now.Add(time.Millisecond + r.every)) {
		t.Errorf("the next is due at %v", turn.due.Sub(now))
	}
}

// TestRotaForgets: who can't be sent to has no place any more, neither in the count nor in memory.
func TestRotaForgets(t *testing.T) {
	r := &rota[*int]{every: time.Second, send: func(c *int) error {
		if *c%2 == 0 {
			return errors.New("gone")
		}
		return nil
	}}
	now := time.Now()
	const conns = 1500
	for i := range conns {
		r.push(turn[*int]{now, &i})
	}
	for range conns {
		turn, _ := r.pop(now)
		r.take(turn)
	}
	held := 0
	for _, turn := range r.ring {
		if turn.conn != nil {
			held++
		}
	}
	if r.len() != conns/2 || held != conns/2 {
		t.Errorf("%d turns and %d connections held, not %d", r.len(), held, conns/2)
	}
}
