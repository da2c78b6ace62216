// Package server is a WebSocket server (RFC 6455) for very many, mostly idle connections that are
// written to by the clock. An idle connection costs a descriptor, a record of about a hundred bytes
// and a place in a timer wheel: no goroutine, no buffer and no timer of its own.
//
// A [Server] serves endpoints, made by [Server.Handle] from handlers and the limits they run under
// ([Options]). A handler gets a [Conn], which may be kept and used from any goroutine. The server
// listens by itself, or its endpoints are mounted in somebody else's http.Server
// ([Endpoint.ServeHTTP]).
//
// # The way of the data
//
// The files are named after the stages that bytes pass, in this order:
//
//	accept.go     connections come off a listener; where no descriptor is left, spares.go has one for
//	              the words to turn them away with
//	admit.go      those that may come in get a record and a loop: address.go counts them by address,
//	              bucket.go bounds their rate
//	proxy.go      whom a peer speaks for that is a proxy: preface.go reads what it says before HTTP,
//	              forwarded.go what it says in it
//	handshake.go  from the first byte to the upgrade: head.go reads what was asked for, judge.go
//	              judges it by origin.go and extension.go, authorize.go asks the embedder, whose
//	              answer is in grant.go, and refusal.go says no
//	turn.go       the right to serve a connection: who has it does what is to be done
//	decode.go     bytes become messages and control frames, by frame.go and code.go
//	pause.go      pauses the reading of a peer that does not read its answers
//	deliver.go    messages and events reach the handlers, which guard.go calls
//	outbound.go   frames go to the socket, or wait in a backlog.go
//	overflow.go   what becomes of messages when too much waits for one connection; forget.go takes
//	              them out of its backlog
//	shed.go       who gives way when too much waits for all connections together
//	compress.go   what goes out compressed, by deflate.go
//	decompress.go what comes in compressed, by inflate.go
//	tick.go       what is due by the clock: ticks, on the grid that grid.go chooses, and deadlines; clock.go leaves
//	              out stops of the process
//	progress.go   whether a peer takes what is queued for it
//	keepalive.go  whether a silent peer is still there
//	close.go      how a connection ends
//	drain.go      how the server ends; goodbye.go spreads that over a time
//
// Connections come in by two other doors as well: http.go hands those that do not ask for an
// endpoint to net/http, as the connections of http_conn.go, and takeover.go takes them from there. All
// bytes of a connection pass transport.go.
//
// What the log says of handshakes that were rejected by origin is in reject_log.go.
//
// # Who runs it
//
//	start.go      the server begins to serve
//	loop.go       an event loop: one poller, one wheel, and a goroutine that serves both; shift.go is
//	              what that has in hand
//	watch.go      the watchdog replaces the goroutine of a loop that makes no progress
//	evidence.go   whether that shows that handlers are slow: threadclock.go measures whether the loop's
//	              thread ran; offload.go moves handlers to the pool and back
//	workers.go    the goroutines that run handlers, of loops and of the pool
//	lane.go       the pool, by its shares; jobs.go is the queue of one
//	inside.go     whether Shutdown was called inside a handler
//	table.go      the connections of a loop, by number
//	trim.go       gives memory back after a storm
//
// What users meet is in server.go, endpoint.go, broadcast.go, options.go, conn.go, message.go, request.go
// and errors.go. What operators meet is in stats.go, of which counters.go does the counting and classes.go
// has the names, and in health.go. What the whole process may hold is bounded in budget.go. Large messages
// lie outside the heap, in the address space that region_linux.go reserves; elsewhere (region_other.go)
// on it.
//
// # Locks
//
// A connection's lock is held for moments, never while a handler runs, and comes before the locks
// of its loop and of its loop's ranks, of the pool's lanes and of the addresses, which are leaves. Who has one
// connection's lock takes that of another only if nobody has it (shed.go). An acceptor's lock comes before
// the server's, and both before that of the reserve of descriptors, a leaf too, as is the one by which an
// acceptor's descriptor is looked at. The turn (turn.go) is not a lock: who can't have it leaves a bit
// behind and goes on.
package server
