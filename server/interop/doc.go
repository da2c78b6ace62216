// Package interop has no code: its tests let other people's WebSocket clients talk to package server,
// without and with compression. What is tested is in cases_test.go, and who talks in clients_test.go.
package interop
