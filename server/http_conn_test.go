//go:build linux

package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpool/stillpool/netpoll"
)

// halfCloser is a TCP or unix connection.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// halfCloseBackend accepts one connection, upgrades it to the protocol "test", and then runs talk.
func halfCloseBackend(t *testing.T, l net.Listener, talk func(c halfCloser, in *bufio.Reader) error) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(bound))
			in := bufio.NewReader(conn)
			if _, err := http.ReadRequest(in); err != nil {
				return err
			}
			if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n"); err != nil {
				return err
			}
			return talk(conn.(halfCloser), in)
		}()
	}()
	return done
}

// wantAll reads up to the end of the stream.
func wantAll(in io.Reader, want string) error {
	if got, err := io.ReadAll(in); err != nil || string(got) != want {
		return fmt.Errorf("read %d bytes, %.30q, up to the end (%v), want %d, %.30q", len(got), got, err, len(want), want)
	}
	return nil
}

// TestHTTPHalfClose: a reverse proxy passes on the half-close of either side of an upgraded connection, and
// what comes the other way after it, as it does in any http.Server.
func TestHTTPHalfClose(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 20_000)
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		for name, listen := range map[string]func(testing.TB) net.Listener{"TCP": lifeListen, "unix": lifeUnix} {
			for _, later := range []bool{false, true} {
				for _, backendFirst := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, later %v, backend first %v", name, later, backendFirst), func(t *testing.T) {
						t.Parallel()
						l := lifeListen(t)
						defer l.Close()
						proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: l.Addr().String()})
						mux := http.NewServeMux()
						mux.Handle("/up", proxy)
						mux.Handle("/", lifePlain)
						srv := &Server{Poller: b, Handler: mux}
						front := listen(t)
						lifeServeOn(t, srv, front)
						done := halfCloseBackend(t, l, func(c halfCloser, in *bufio.Reader) error {
							if backendFirst {
								if _, err := io.WriteString(c, "from the backend"); err != nil {
									return err
								}
								if err := c.CloseWrite(); err != nil {
									return err
								}
								return wantAll(in, long)
							}
							if err := wantAll(in, long); err != nil {
								return err
							}
							_, err := io.WriteString(c, "from the backend")
							return err
						})
						c := lifeConnect(t, front.Addr().String())
						if later {
							c.raw([]byte(lifeAsk("POST", "/", "body")))
							c.response(http.StatusOK)
						}
						c.raw([]byte("GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n"))
						c.response(http.StatusSwitchingProtocols)
						if backendFirst {
							if err := wantAll(c.r, "from the backend"); err != nil {
								t.Fatal(err)
							}
						}
						c.raw([]byte(long))
						lifeMust(t, c.Conn.(halfCloser).CloseWrite())
						if !backendFirst {
							if err := wantAll(c.r, "from the backend"); err != nil {
								t.Error(err)
							}
						}
						if err := lifeGet(t, done, "the end of the backend"); err != nil {
							t.Error(err)
						}
					})
				}
			}
		}
	})
}

// TestHTTPHijacked: what a handler may do with a connection that it hijacks, it may do with ours.
func TestHTTPHijacked(t *testing.T) {
	t.Parallel()
	early := strings.Repeat("x", 10_000) // more than net/http has buffered
	for name, listen := range map[string]func(testing.TB) net.Listener{"TCP": lifeListen, "unix": lifeUnix} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done := make(chan error, 1)
			srv := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, buffered, err := http.NewResponseController(w).Hijack()
				if err != nil {
					done <- err
					return
				}
				defer conn.Close()
				done <- useHijacked(conn, buffered.Reader, early)
			})}
			l := listen(t)
			lifeServeOn(t, srv, l)
			c := lifeConnect(t, l.Addr().String())
			c.raw([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n" + early))
			lifeMust(t, c.Conn.(halfCloser).CloseWrite())
			if err := wantAll(c.r, "file and end"); err != nil {
				t.Error(err)
			}
			if err := lifeGet(t, done, "the end of the handler"); err != nil {
				t.Error(err)
			}
		})
	}
}

func useHijacked(conn net.Conn, buffered *bufio.Reader, early string) error {
	full, ok := conn.(interface {
		io.ReaderFrom
		io.WriterTo
		CloseRead() error
		CloseWrite() error
	})
	if !ok {
		return fmt.Errorf("a %T lacks methods", conn)
	}
	head, err := buffered.Peek(buffered.Buffered())
	if err != nil {
		return err
	}
	var came strings.Builder
	came.Write(head)
	if _, err := full.WriteTo(&came); err != nil {
		return err
	}
	if came.String() != early {
		return fmt.Errorf("%d bytes came, want %d", came.Len(), len(early))
	}
	if _, err := full.ReadFrom(strings.NewReader("file and end")); err != nil {
		return err
	}
	if err := full.CloseRead(); err != nil {
		return err
	}
	return full.CloseWrite()
}

// trickleBody is a client that sends size bytes each interval of virtual time.
func trickleBody(conn net.Conn, head string, size int, interval time.Duration) error {
	length := 0
	fmt.Sscanf(head[strings.Index(head, "Content-Length: "):], "Content-Length: %d", &length)
	if _, err := io.WriteString(conn, head); err != nil {
		return err
	}
	for sent := 0; sent < length; {
		time.Sleep(interval)
		n, err := conn.Write(make([]byte, min(size, length-sent)))
		if sent += n; err != nil {
			return err
		}
	}
	return nil
}

// TestHTTPBodyInVirtualTime: a request is cut when its body makes no progress, however long it takes and
// whatever the handler does meanwhile; and its handler may take its time when the body is read.
func TestHTTPBodyInVirtualTime(t *testing.T) {
	slowly := func(d time.Duration) func(w http.ResponseWriter, r *http.Request) error {
		return func(_ http.ResponseWriter, r *http.Request) error {
			time.Sleep(d)
			_, err := io.Copy(io.Discard, struct{ io.Reader }{r.Body})
			return err
		}
	}
	stays := func(_ http.ResponseWriter, r *http.Request) error {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return err
		}
		time.Sleep(time.Hour)
		return r.Context().Err()
	}
	for _, c := range []struct {
		name     string
		timeout  time.Duration // 0 is a minute
		length   int
		size     int // of a piece, and
		interval time.Duration
		handler  func(w http.ResponseWriter, r *http.Request) error
		err      error
	}{
		{"an hour's upload", 0, 60 * 100_000, 100_000, 59 * time.Second, slowly(0), nil},
		{"4 KiB a minute", 0, 100 * 4096, 4096, 59 * time.Second, slowly(0), nil},
		{"less than 4 KiB a minute", 0, 100 * 4096, 2000, 59 * time.Second, slowly(0), os.ErrDeadlineExceeded},
		{"a byte at a time", 0, 1000, 1, time.Second, slowly(0), os.ErrDeadlineExceeded},
		{"a short body", 0, 50, 1, time.Second, slowly(0), nil},
		{"the rest", 0, 4096 + 50, 4096, 59 * time.Second, slowly(0), nil},
		{"nothing", 0, 100, 100, 61 * time.Second, slowly(0), os.ErrDeadlineExceeded},
		{"nothing, unbounded", -1, 100, 1, time.Hour, slowly(0), nil},
		{"another bound", 3 * time.Second, 100, 100, 4 * time.Second, slowly(0), os.ErrDeadlineExceeded},
		{"a handler that begins late", 0, 100, 100, time.Second, slowly(time.Hour), nil},
		{"a handler that goes on", 0, 100, 100, time.Second, stays, nil},
		{"a handler that goes on without a body", 0, 0, 1, time.Second, stays, nil},
		{"a handler that closes the body and goes on", 0, 100, 100, time.Second, func(_ http.ResponseWriter, r *http.Request) error {
			r.Body.Close()
			time.Sleep(time.Hour)
			return r.Context().Err()
		}, nil},
		{"a handler with a deadline of its own", 0, 100, 50, 2 * time.Minute, func(w http.ResponseWriter, r *http.Request) error {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
				return err
			}
			return slowly(0)(w, r)
		}, nil},
		{"a handler that leaves the body", 0, 100, 100, time.Hour, func(http.ResponseWriter, *http.Request) error { return nil }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read := make(chan error, 1)
				s := &Server{Logger: quiet, BodyTimeout: c.timeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					read <- c.handler(w, r)
				})}
				h := newWeb(s)
				ours, theirs := net.Pipe()
				h.give(&plainConn{Conn: ours})
				gone := make(chan error, 1)
				go func() {
					gone <- trickleBody(theirs, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", c.length), c.size, c.interval)
				}()
				go io.Copy(io.Discard, theirs)
				start := time.Now()
				if err := <-read; !errors.Is(err, c.err) {
					t.Errorf("the handler got %v after %v, want %v", err, time.Since(start), c.err)
				}
				synctest.Wait()
				if c.err != nil || strings.Contains(c.name, "leaves") {
					// What is left of the body must not be read for ever.
					time.Sleep(time.Minute)
					if err := <-gone; err == nil {
						t.Error("the peer could send all of it")
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := h.http.Shutdown(ctx); err != nil {
					t.Errorf("its connection is still there: %v", err)
				}
				theirs.Close()
				s.goroutines.Wait()
			})
		})
	}
}

// TestHTTPBodyTimeout is the same on a socket: the handler is told in time, and the connection ends.
func TestHTTPBodyTimeout(t *testing.T) {
	t.Parallel()
	lifeBackends(t, func(t *testing.T, b netpoll.Backend) {
		read := make(chan error, 1)
		srv := &Server{Poller: b, BodyTimeout: 50 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
			http.Error(w, "too slow", http.StatusRequestTimeout)
		})}
		c := lifeConnect(t, lifeServe(t, srv))
		c.raw([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"))
		if err := lifeGet(t, read, "the end of the body"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handler got %v", err)
		}
		c.response(http.StatusRequestTimeout)
		c.wantEOF()
	})
}
