package server

import "github.com/stillpool/stillpool/netpoll"

// This file is the seam between a connection and its descriptor: every byte passes here, and a
// transport that changes the bytes, as TLS does, belongs here and nowhere else. None of it blocks.

// recv reads what is there. Only the holder of the turn calls it.
func (c *Conn) recv(p []byte) (int, error) { return netpoll.Recv(int(c.fd), p) }

// send writes what the kernel takes. The connection's lock is held.
func (c *Conn) send(p []byte) (int, error) { return netpoll.Send(int(c.fd), p) }

// sendv is send for several pieces at once.
func (c *Conn) sendv(p [][]byte) (int, error) {
	if len(p) == 1 {
		return c.send(p[0])
	}
	return netpoll.SendV(int(c.fd), p)
}

// acks is what the kernel knows of the peer, and false where it knows nothing.
func (c *Conn) acks() (netpoll.Acks, bool) { return netpoll.Acked(int(c.fd)) }

// closeWrite ends the stream towards the peer. The connection's lock is held.
func (c *Conn) closeWrite() { netpoll.CloseWrite(int(c.fd)) }
