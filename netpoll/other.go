//go:build !linux

package netpoll

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// These declarations let packages that import this one compile everywhere. Each is documented in its
// Linux file; here every function returns ErrUnsupported.

func newEpoll() (Poller, error)  { return nil, ErrUnsupported }
func newEasyGo() (Poller, error) { return nil, ErrUnsupported }

// Listener is unsupported here.
type Listener struct{ FD int }

func (l *Listener) Addr() net.Addr { return nil }
func (l *Listener) Close() error   { return ErrUnsupported }

// Alarm is unsupported here.
type Alarm struct{}

func (a *Alarm) Set(time.Duration) {}
func (a *Alarm) Stop()             {}
func (a *Alarm) Wait() error       { return ErrUnsupported }
func (a *Alarm) Close() error      { return ErrUnsupported }

// Acks is unsupported here.
type Acks struct {
	Since       time.Duration
	Outstanding bool
	Unsent      bool
	Unanswered  bool
}

func ThreadID() int                                   { return 0 }
func ThreadCPU(int) (time.Duration, bool)             { return 0, false }
func NewAlarm() (*Alarm, error)                       { return nil, ErrUnsupported }
func Listen(string, bool) (*Listener, error)          { return nil, ErrUnsupported }
func ListenTCP(string, bool) (net.Listener, error)    { return nil, ErrUnsupported }
func FromListener(net.Listener) (*Listener, error)    { return nil, ErrUnsupported }
func Accept(int) (int, netip.AddrPort, error)         { return -1, netip.AddrPort{}, ErrUnsupported }
func Recv(int, []byte) (int, error)                   { return 0, ErrUnsupported }
func Send(int, []byte) (int, error)                   { return 0, ErrUnsupported }
func SendV(int, [][]byte) (int, error)                { return 0, ErrUnsupported }
func Connect(netip.AddrPort, netip.Addr) (int, error) { return -1, ErrUnsupported }
func ConnectError(int) error                          { return ErrUnsupported }
func Spare() (int, error)                             { return -1, ErrUnsupported }
func CloseWrite(int) error                            { return ErrUnsupported }
func Shut(int) error                                  { return ErrUnsupported }
func Close(int) error                                 { return ErrUnsupported }
func Reset(int) error                                 { return ErrUnsupported }
func SetNoDelay(int) error                            { return ErrUnsupported }
func SetSendBuffer(int, int) error                    { return ErrUnsupported }
func SetUnsentLowWater(int, int) error                { return ErrUnsupported }
func SendQueue(int) (int, int, error)                 { return 0, 0, ErrUnsupported }
func LocalAddr(int) (netip.AddrPort, error)           { return netip.AddrPort{}, ErrUnsupported }
func RemoteAddr(int) (netip.AddrPort, error)          { return netip.AddrPort{}, ErrUnsupported }
func Take(syscall.Conn) (int, error)                  { return -1, ErrUnsupported }
func NetConn(int) (net.Conn, error)                   { return nil, ErrUnsupported }
func Acked(int) (Acks, bool)                          { return Acks{}, false }
func AcceptQueue(int) (int, int, bool)                { return 0, 0, false }
func Unacked(int) int                                 { return 0 }
func IsTCP(int) bool                                  { return false }
func IsTransient(error) bool                          { return false }
func IsExhausted(error) bool                          { return false }

func ListenUnix(string, os.FileMode) (net.Listener, error) { return nil, ErrUnsupported }
