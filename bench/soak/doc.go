// Package soak lets connections come, talk, stall, reset and go at random for as long as one says, and holds
// a server against a model: every message that was accepted arrives in its order, every open event has its
// close event, and memory and descriptors are flat.
//
// The server is a child of the process that calls [Run], and embeds package server with endpoints made for
// this: the model needs both sides. Both keep an account of each connection, and a judge holds one against
// the other:
//
//   - Every message has a label that says whose it is and which one, and a body that follows from label and
//     seed. So what is torn, changed, repeated, swapped, left out or for somebody else is seen by who gets it.
//   - What the server accepts (Sent or Queued) goes into a chain of its own order, and so does what the client
//     hears. Where the server closed first, its close frame is behind everything accepted and the chains must be equal; otherwise
//     the client may have heard less, but nothing else. Where the endpoint lets old messages make way for new
//     ones, there may be gaps, and the last that was accepted must be there. Broadcasts are numbered apart.
//   - What the client sent the server must have heard, all of it where the way the client left allows that.
//   - The close event comes once, as the last, with the cause and the code that the client's way to leave calls for.
//   - From time to time all clients leave, and the server must be as before the first one: no connection, no
//     byte held, no goroutine, no descriptor. How its memory grows from one such ebb to the next says whether it
//     leaks.
//
// Nothing is wrong because it took long. What a client can't rule out, as that the server finds it too slow when the
// machine is busy, is excused, and counted. What never comes is waited for as long as Options.Patience says.
//
// # The way of a run
//
//	options ─► run ─► child ─► server ─► guest ─► record ─► judge ─► result
//	run ─► decks ─► life: coming ─► things ─► going ─► outcome ─► judge
//
// File by file:
//   - options.go, run.go: how many clients for how long; the tides, and what is sampled
//   - places.go: the endpoints, which both sides know
//   - content.go: what messages say; deflate.go: a client's side of permessage-deflate
//   - decks.go, life.go: who does what; a client from its coming to its going
//   - comings.go, things.go, goings.go: all that clients do, and how they leave
//   - wire.go, hear.go: how a client sends, and what it makes of what it hears
//   - judge.go, counts.go: the two accounts of a connection held against each other; what was found
//   - child.go, orders.go: the server's process as its parent sees it; what the two tell each other
//   - server.go, guest.go, wishes.go: the server; its account of a connection; what clients can ask it for
//   - curve.go, result.go, progress.go: whether something grows; what was seen, and how it is shown
package soak
