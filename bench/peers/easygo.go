package main

import (
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/mailru/easygo/netpoll"
	"golang.org/x/sys/unix"
)

// easyGoWorkers is that of the author's chat. Its pool has a queue of one besides, which is left out:
// what waits there waits behind a worker that may have to wait for half a message, while another
// worker could be started.
const easyGoWorkers = 128

// serveEasyGo is the form of the article "A Million WebSockets and Go" and of the chat that its author
// published with gobwas/ws: a connection whose reading is announced by the poller is handed to a
// bounded pool, where a blocking read with a deadline takes one message off the socket, without a
// buffer. The upgrade runs in the pool too, and leaves nothing behind.
//
// Registrations are for one event and renewed after each message. The chat's are edge-triggered,
// which leaves the second of two messages that came in one packet unread.
func serveEasyGo(s *settings) error {
	poller, err := netpoll.New(nil)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	e := &easyGo{
		poller: poller, pool: newPool(easyGoWorkers), timeout: s.ioTimeout,
		members: newRoster[*easyGoConn](s),
	}
	tick := gobwasFrame(ws.OpText, []byte(woohoo))
	e.rota = newRota(s, func(c *easyGoConn) error { return c.send(tick) })
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		e.pool.schedule(func() { e.handle(conn.(*net.TCPConn)) })
	}
}

type easyGo struct {
	poller  netpoll.Poller
	pool    *pool
	timeout time.Duration
	rota    *rota[*easyGoConn]
	members *roster[*easyGoConn]
}

// easyGoConn is read from and closed by one worker at a time, which the one-shot events see to. Any
// goroutine may write to it, a whole frame at once.
type easyGoConn struct {
	deadliner
	turn     sync.Mutex // the next event may come before Start or Resume is done with desc
	desc     *netpoll.Desc
	endpoint endpoint
}

func (e *easyGo) handle(conn *net.TCPConn) {
	c := &easyGoConn{deadliner: deadliner{conn, e.timeout}}
	var err error
	if c.endpoint, err = gobwasUpgrade(c); err == nil {
		c.desc, err = easyGoDesc(conn)
	}
	if err != nil {
		conn.Close()
		return
	}
	switch c.endpoint {
	case tickEndpoint:
		e.rota.join(c)
	case broadcastEndpoint:
		e.members.join(c)
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	err = e.poller.Start(c.desc, func(netpoll.Event) {
		e.pool.schedule(func() { e.receive(c) })
	})
	if err != nil {
		e.close(c)
	}
}

// easyGoDesc gives the poller a descriptor of its own, as netpoll.HandleReadOnce does. That one takes
// it from TCPConn.File, which today makes the socket blocking each time the poller asks for its
// number, at every Resume: deadlines would not hold, and 128 peers that send half a message would
// stop the server. It would also register the copy with Go's own poller. NewDesc of a copy that is
// blocking for the moment does neither.
func easyGoDesc(conn *net.TCPConn) (*netpoll.Desc, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if controlErr := raw.Control(func(original uintptr) {
		fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	}); controlErr != nil {
		err = controlErr
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, err
	}
	desc := netpoll.NewDesc(uintptr(fd), netpoll.EventRead|netpoll.EventOneShot)
	return desc, syscall.SetNonblock(fd, true)
}

// receive takes one message, or one control frame, and waits for the next.
func (e *easyGo) receive(c *easyGoConn) {
	c.turn.Lock()
	defer c.turn.Unlock()
	messages, err := wsutil.ReadClientMessage(c, nil)
	for i := 0; i < len(messages) && err == nil; i++ {
		err = e.message(c, messages[i])
	}
	if err == nil {
		err = e.poller.Resume(c.desc)
	}
	if err != nil {
		_ = e.poller.Stop(c.desc) // an error means that it was not started
		e.close(c)
	}
}

func (e *easyGo) message(c *easyGoConn, m wsutil.Message) error {
	switch {
	case m.OpCode.IsControl():
		return wsutil.HandleClientControlMessage(c, m)
	case c.endpoint == echoEndpoint:
		return gobwasWrite(c, m.OpCode, m.Payload)
	case c.endpoint == broadcastEndpoint:
		frame := gobwasFrame(m.OpCode, m.Payload)
		for _, member := range e.members.all() {
			_ = member.send(frame) // who can't be sent to is about to leave
		}
	}
	return nil
}

func (e *easyGo) close(c *easyGoConn) {
	e.members.leave(c)
	c.desc.Close()
	c.Close()
}

// send writes a frame. If that fails, the frame may be half written: the end of the stream, which the
// poller announces, has the connection closed.
func (c *easyGoConn) send(frame []byte) error {
	_, err := c.Write(frame)
	if err != nil {
		_ = c.CloseRead()
	}
	return err
}

// deadliner sets a deadline before each read and write.
type deadliner struct {
	*net.TCPConn
	timeout time.Duration
}

// Read implements io.Reader.
func (d deadliner) Read(p []byte) (int, error) {
	d.SetReadDeadline(time.Now().Add(d.timeout))
	return d.TCPConn.Read(p)
}

// Write implements io.Writer.
func (d deadliner) Write(p []byte) (int, error) {
	d.SetWriteDeadline(time.Now().Add(d.timeout))
	return d.TCPConn.Write(p)
}

// pool runs tasks on a bounded number of goroutines, which it starts when they are first needed.
type pool struct {
	slots chan struct{}
	tasks chan func()
}

func newPool(workers int) *pool {
	return &pool{slots: make(chan struct{}, workers), tasks: make(chan func())}
}

// schedule waits while all workers are busy.
func (p *pool) schedule(task func()) {
	select {
	case p.tasks <- task: // a worker is idle
		return
	default:
	}
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
