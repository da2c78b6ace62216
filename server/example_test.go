package server_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/stillpool/stillpool/server"
)

// A server that says something once a second to everybody, and answers what they say.
func ExampleServer() {
	woohoo := server.PrepareText("Woohoo!")
	srv := &server.Server{Addr: "localhost:8080"}
	srv.Handle("/ws", server.Options{
		Every:  time.Second,
		OnTick: func(c *server.Conn) { c.Send(woohoo) },
		OnMessage: func(c *server.Conn, m server.Message) {
			c.WriteText(fmt.Sprintf("Got %s!", m.Data))
		},
	})
	log.Fatal(srv.ListenAndServe())
}

// An endpoint in a program that has an http.Server already. Its connections leave that server when
// they are upgraded, so they are ended by the endpoint's own Server.
func ExampleEndpoint_ServeHTTP() {
	sockets := new(server.Server) // it listens nowhere by itself
	echo := sockets.Handle("/echo", server.Options{
		OnMessage: func(c *server.Conn, m server.Message) { c.Write(m.Kind, m.Data) },
	})

	mux := http.NewServeMux()
	mux.Handle("/echo", echo)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
	})
	web := &http.Server{Addr: "localhost:8080", Handler: mux}
	web.RegisterOnShutdown(func() { sockets.Shutdown(context.Background()) })
	log.Fatal(web.ListenAndServe())
}

// A client without a session is rejected before the upgrade; every handler of the others knows the user.
func ExampleGrant() {
	users := map[string]string{"1234": "Ada"}
	srv := new(server.Server)
	srv.Handle("/ws", server.Options{
		Authorize: func(r *http.Request) (server.Grant, error) {
			session, err := r.Cookie("session")
			if err != nil {
				return server.Grant{}, &server.Rejection{Status: http.StatusUnauthorized, Body: "log in first"}
			}
			user, ok := users[session.Value] // it may ask a database: it blocks nobody else
			if !ok {
				return server.Grant{}, fmt.Errorf("no such session") // the client gets 403, and no more
			}
			return server.Grant{Value: user, Header: http.Header{"Set-Cookie": {"node=7"}}}, nil
		},
		OnOpen: func(c *server.Conn, _ *server.Request) { c.WriteText("Hello, " + c.Value().(string) + "!") },
	})

	ada := connectAs(srv, "/ws", http.Header{"Cookie": {"session=1234"}})
	defer ada.hangUp()
	ada.hears()
	// Output:
	// Hello, Ada!
}

// Some conversations are easiest told by one goroutine from beginning to end. It gets its messages
// through a channel and writes when it likes; the connection has that goroutine for as long as it
// talks, and may do without afterwards.
func Example_conversation() {
	srv := new(server.Server)
	srv.Handle("/order", server.Options{
		OnOpen: func(c *server.Conn, _ *server.Request) {
			said := make(chan string, 16)
			c.SetValue(said)
			go takeOrder(c, said)
		},
		OnMessage: func(c *server.Conn, m server.Message) {
			select {
			case c.Value().(chan string) <- string(m.Data): // a copy: m.Data is valid until the return
			default:
				c.CloseWith(server.CodePolicy, "one at a time, please")
			}
		},
		OnClose: func(c *server.Conn, _ server.Closing) { close(c.Value().(chan string)) },
	})

	customer := connect(srv, "/order")
	defer customer.hangUp()
	customer.hears()
	customer.says("soup")
	customer.hears()
	customer.says("yes")
	customer.hears()
	// Output:
	// What would you like?
	// One soup, is that right?
	// It takes ten minutes.
}

func takeOrder(c *server.Conn, said <-chan string) {
	c.WriteText("What would you like?")
	dish, here := <-said
	if !here {
		return // the connection is closed
	}
	c.WriteText("One " + dish + ", is that right?")
	if <-said == "yes" {
		c.WriteText("It takes ten minutes.")
	}
}

// What belongs to a connection stands with it. Handlers need no lock for it, because no two of one
// connection run at the same time.
func ExampleConn_SetValue() {
	type guest struct {
		name     string
		messages int
	}
	srv := new(server.Server)
	srv.Handle("/book", server.Options{
		OnOpen: func(c *server.Conn, r *server.Request) {
			c.SetValue(&guest{name: r.Query().Get("name")})
		},
		OnMessage: func(c *server.Conn, m server.Message) {
			g := c.Value().(*guest)
			g.messages++
			c.WriteText(fmt.Sprintf("%d. %s: %s", g.messages, g.name, m.Data))
		},
	})

	ada := connect(srv, "/book?name=Ada")
	defer ada.hangUp()
	ada.says("What a place!")
	ada.hears()
	ada.says("I shall come again.")
	ada.hears()
	// Output:
	// 1. Ada: What a place!
	// 2. Ada: I shall come again.
}

// A message for many is encoded once.
func ExampleEndpoint_Broadcast() {
	srv := new(server.Server)
	room := srv.Handle("/room", server.Options{})

	ada, bob := connect(srv, "/room"), connect(srv, "/room")
	defer ada.hangUp()
	defer bob.hangUp()
	tally := room.Broadcast(server.PrepareText("The doors are closing."))
	ada.hears()
	bob.hears()
	fmt.Printf("%d have it, %d will, %d read too slowly\n", tally.Sent, tally.Queued, tally.Refused)
	// Output:
	// The doors are closing.
	// The doors are closing.
	// 2 have it, 0 will, 0 read too slowly
}

// A balancer that passes streams on says first whose each is.
func ExampleProxyProtocol() {
	srv := &server.Server{MaxConnsPerAddress: 100}
	srv.Handle("/ws", server.Options{OnOpen: func(c *server.Conn, _ *server.Request) { c.WriteText(c.RemoteAddr().String()) }})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(server.ProxyProtocol(l)) }()

	balancer := ws.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) {
		conn, err := net.Dial("tcp", l.Addr().String())
		must(err)
		_, err = io.WriteString(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n")
		return conn, err
	}}
	conn, early, _, err := balancer.Dial(context.Background(), "ws://example.com/ws")
	must(err)
	p := &peer{Conn: conn, in: conn, srv: srv, served: served}
	if early != nil { // it came with the answer to the handshake
		p.in = early
	}
	p.hears()
	p.hangUp()
	// Output: 192.0.2.1:4711
}

// peer is the other side of the examples: a client that prints what it hears.
type peer struct {
	net.Conn
	in     io.Reader
	srv    *server.Server
	served chan error
}

// connect has srv serve on a port of its own, and is its client there.
func connect(srv *server.Server, path string) *peer { return connectAs(srv, path, nil) }

func connectAs(srv *server.Server, path string, header http.Header) *peer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	dialer := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}
	conn, early, _, err := dialer.Dial(context.Background(), "ws://"+l.Addr().String()+path)
	must(err)
	p := &peer{Conn: conn, in: conn, srv: srv, served: served}
	if early != nil { // it came with the answer to the handshake
		p.in = early
	}
	return p
}

// Read implements io.Reader.
func (p *peer) Read(b []byte) (int, error) { return p.in.Read(b) }

func (p *peer) says(s string) { must(wsutil.WriteClientText(p, []byte(s))) }

func (p *peer) hears() {
	text, err := wsutil.ReadServerText(p)
	must(err)
	fmt.Println(string(text))
}

func (p *peer) hangUp() {
	p.Close()
	p.srv.Close()
	<-p.served
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
