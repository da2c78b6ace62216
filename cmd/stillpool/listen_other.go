//go:build !linux

package main

import "net"

// listenTCP opens a listener where the server doesn't run anyway.
func listenTCP(addr string, _ bool) (net.Listener, error) { return net.Listen("tcp", addr) }
