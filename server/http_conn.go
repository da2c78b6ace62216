package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// This file is the connection that net/http gets: it has the methods that a handler finds on the TCP or
// unix connection of any http.Server, and its request bodies must make progress.

// plainConn is a connection that the loops gave to net/http, with the bytes that they had read.
type plainConn struct {
	net.Conn // a *net.TCPConn or *net.UnixConn
	prefix   []byte
	remote   netip.AddrPort
	counted  bool // in Server.addresses, for remote
	proxied  bool // remote is what a PROXY header said

	mu    sync.Mutex
	paced bool // the read deadline is that of a pacedBody
}

// plainConnKey is the key of the plainConn in the context of its requests.
type plainConnKey struct{}

// plainConnOf returns the connection of a request that came over the server's own port, or nil.
func plainConnOf(r *http.Request) *plainConn {
	p, _ := r.Context().Value(plainConnKey{}).(*plainConn)
	return p
}

// RemoteAddr implements net.Conn.
func (p *plainConn) RemoteAddr() net.Addr {
	if !p.proxied {
		return p.Conn.RemoteAddr()
	}
	return remoteOf(p.remote)
}

// Read implements net.Conn.
func (p *plainConn) Read(b []byte) (int, error) {
	if len(p.prefix) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.prefix)
	p.prefix = p.prefix[n:]
	return n, nil
}

// ReadFrom implements io.ReaderFrom, by which net/http sends files without copying them.
func (p *plainConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(p.Conn, r) }

// WriteTo implements io.WriterTo.
func (p *plainConn) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(p.prefix)
	if p.prefix = p.prefix[n:]; err != nil {
		return int64(n), err
	}
	rest, err := io.Copy(w, p.Conn)
	return int64(n) + rest, err
}

// CloseWrite ends the stream towards the peer. Reading goes on.
func (p *plainConn) CloseWrite() error {
	return p.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// CloseRead ends reading. Writing goes on.
func (p *plainConn) CloseRead() error {
	p.prefix = nil
	return p.Conn.(interface{ CloseRead() error }).CloseRead()
}

// SyscallConn implements syscall.Conn. It is for socket options: bytes that were read already are not
// in the kernel.
func (p *plainConn) SyscallConn() (syscall.RawConn, error) {
	return p.Conn.(syscall.Conn).SyscallConn()
}

// SetReadDeadline implements net.Conn. It ends the pace of a body: net/http sets a deadline between two
// requests and at a hijack, a handler when it has a deadline of its own.
func (p *plainConn) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paced = false
	return p.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn, and ends the pace of a body as SetReadDeadline does.
func (p *plainConn) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paced = false
	return p.Conn.SetDeadline(t)
}

// pace sets the read deadline, unless another one than that of a pacedBody is set.
func (p *plainConn) pace(deadline time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paced {
		p.Conn.SetReadDeadline(deadline)
	}
}

// unpace clears the deadline that pace has set.
func (p *plainConn) unpace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paced {
		p.paced = false
		p.Conn.SetReadDeadline(time.Time{})
	}
}

// pacedBody is a request body that must make progress: bodyProgress bytes, or all that is left, in each
// timeout that the handler spends reading.
type pacedBody struct {
	io.ReadCloser
	conn    *plainConn
	timeout time.Duration
	left    time.Duration // of the timeout, until bodyProgress more bytes must have come
	got     int           // bytes of these
}

// paceBody bounds the wait for the body of r, whose handler is to be called.
func (s *Server) paceBody(r *http.Request) {
	conn, timeout := plainConnOf(r), s.bodyTimeout()
	if r.Body == nil || r.Body == http.NoBody || timeout < 0 || conn == nil {
		return
	}
	conn.mu.Lock()
	conn.paced = true
	conn.mu.Unlock()
	b := &pacedBody{ReadCloser: r.Body, conn: conn, timeout: timeout, left: timeout}
	// net/http itself reads what a handler leaves of a body, so there is a deadline from the beginning.
	conn.pace(time.Now().Add(b.left))
	r.Body = b
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	start := time.Now()
	b.conn.pace(start.Add(b.left))
	n, err := b.ReadCloser.Read(p)
	// The time that the handler takes between two reads is not the peer's.
	b.left -= time.Since(start)
	if b.got += n; b.got >= bodyProgress {
		b.got, b.left = 0, b.timeout
	}
	if errors.Is(err, io.EOF) {
		// From here on net/http waits for the peer to leave, for as long as the handler runs.
		b.conn.unpace()
	}
	return n, err
}

// Close implements io.Closer. It reads what is left of a short body.
func (b *pacedBody) Close() error {
	b.conn.pace(time.Now().Add(b.left))
	defer b.conn.unpace()
	return b.ReadCloser.Close()
}
