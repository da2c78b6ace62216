package main

import (
	"net"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/mailru/easygo/netpoll"
)

// The pool of the article's example: 128 workers and a queue of one.
const (
	easyGoWorkers   = 128
	easyGoQueue     = 1
	easyGoIOTimeout = 100 * time.Millisecond
)

// serveEasyGo is the form of the article "A Million WebSockets and Go": a connection whose reading
// is announced by the poller is handed to a bounded pool, where a blocking read takes one message.
//
// Registrations are for one event and renewed after each message. The article's are edge-triggered,
// which leaves the second of two messages that came in one packet unread. netpoll duplicates each
// descriptor, so a connection takes two of them.
func serveEasyGo(addr string) error {
	poller, err := netpoll.New(nil)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := &easyGo{poller: poller, pool: newPool(easyGoWorkers, easyGoQueue)}
	s.rota = newRota(func(c net.Conn) error {
		return wsutil.WriteServerText(deadliner{c}, []byte(woohoo))
	})
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		s.pool.schedule(func() { s.handle(conn) })
	}
}

type easyGo struct {
	poller netpoll.Poller
	pool   *pool
	rota   *rota[net.Conn]
}

func (s *easyGo) handle(conn net.Conn) {
	echo := false
	upgrader := ws.Upgrader{OnRequest: func(uri []byte) error {
		echo = string(uri) == "/echo"
		return nil
	}}
	if _, err := upgrader.Upgrade(deadliner{conn}); err != nil {
		conn.Close()
		return
	}
	desc, err := netpoll.HandleReadOnce(conn)
	if err != nil {
		conn.Close()
		return
	}
	if !echo {
		s.rota.join(conn)
	}
	s.poller.Start(desc, func(netpoll.Event) {
		s.pool.schedule(func() { s.receive(conn, desc, echo) })
	})
}

func (s *easyGo) receive(conn net.Conn, desc *netpoll.Desc, echo bool) {
	message, op, err := wsutil.ReadClientData(deadliner{conn})
	if err == nil && echo {
		err = wsutil.WriteServerMessage(deadliner{conn}, op, message)
	}
	if err != nil {
		s.poller.Stop(desc)
		desc.Close()
		conn.Close()
		return
	}
	s.poller.Resume(desc)
}

// deadliner sets a deadline before each read and write.
type deadliner struct{ net.Conn }

func (d deadliner) Read(p []byte) (int, error) {
	d.SetReadDeadline(time.Now().Add(easyGoIOTimeout))
	return d.Conn.Read(p)
}

func (d deadliner) Write(p []byte) (int, error) {
	d.SetWriteDeadline(time.Now().Add(easyGoIOTimeout))
	return d.Conn.Write(p)
}

// pool runs tasks on a bounded number of goroutines, which it starts when they are first needed.
type pool struct {
	slots chan struct{}
	tasks chan func()
}

func newPool(workers, queue int) *pool {
	return &pool{slots: make(chan struct{}, workers), tasks: make(chan func(), queue)}
}

// schedule waits while all workers are busy and the queue is full.
func (p *pool) schedule(task func()) {
	select {
	case p.tasks <- task:
	case p.slots <- struct{}{}:
		go p.work(task)
	}
}

func (p *pool) work(task func()) {
	for {
		task()
		task = <-p.tasks
	}
}
