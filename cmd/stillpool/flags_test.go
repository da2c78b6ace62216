package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// parsed is what "stillpool serve args..." would run with.
func parsed(t *testing.T, args ...string) serveCmd {
	t.Helper()
	var c cli
	helped := false
	if _, err := newParser(&c, streams{io.Discard, io.Discard}, &helped).Parse(append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	return c.Serve
}

// flagTable has a row for each flag of serve: its field, what it is by default, and another value
// as text and as it must arrive.
var flagTable = []struct {
	flag, field string
	def         any
	text        string
	want        any
}{
	{"addr", "Addr", "localhost:8080", ":9000", ":9000"},
	{"socket-mode", "SocketMode", "", "0660", "0660"},
	{"every", "Every", time.Second, "250ms", 250 * time.Millisecond},
	{"write-timeout", "WriteTimeout", 10 * time.Second, "3s", 3 * time.Second},
	{"keepalive", "Keepalive", 50 * time.Second, "0", time.Duration(0)},
	{"pong-timeout", "PongTimeout", 20 * time.Second, "5s", 5 * time.Second},
	{"drain-delay", "DrainDelay", time.Duration(0), "15s", 15 * time.Second},
	{"drain-time", "DrainTime", time.Duration(0), "1m", time.Minute},
	{"drain-code", "DrainCode", 1001, "1012", 1012},
	{"max-conns", "MaxConns", 0, "1000000", 1_000_000},
	{"max-conns-per-address", "MaxConnsPerAddress", 0, "100", 100},
	{"ipv4-prefix", "IPv4Prefix", 32, "24", 24},
	{"ipv6-prefix", "IPv6Prefix", 64, "56", 56},
	{"max-handshakes", "MaxHandshakes", 0, "500", 500},
	{"handshake-rate", "HandshakeRate", 0, "1000", 1000},
	{"handshake-burst", "HandshakeBurst", 0, "2000", 2000},
	{"max-header-bytes", "MaxHeaderBytes", 0, "65536", 65536},
	{"trusted-proxies", "TrustedProxies", []string(nil), "10.0.0.0/8,unix", []string{"10.0.0.0/8", "unix"}},
	{"proxy-protocol", "ProxyProtocol", false, "true", true},
	{"loops", "Loops", 0, "3", 3},
	{"workers", "Workers", 0, "64", 64},
	{"poller", "Poller", "epoll", "easygo", "easygo"},
	{"reuse-port", "ReusePort", false, "true", true},
	{"origins", "Origins", []string(nil), "https://a.example,null", []string{"https://a.example", "null"}},
	{"compression", "Compression", "on", "context", "context"},
	{"log-level", "LogLevel", "info", "debug", "debug"},
	{"log-format", "LogFormat", "text", "json", "json"},
	{"profile", "Profile", "", "heap", "heap"},
	{"profile-dir", "ProfileDir", ".", "/tmp/x", "/tmp/x"},
	{"admin", "Admin", "", ":9090", ":9090"},
	{"pprof", "Pprof", "", ":6060", ":6060"},
}

func TestFlagsAndEnvironment(t *testing.T) {
	for _, row := range flagTable {
		t.Run(row.flag, func(t *testing.T) {
			get := func(args ...string) any {
				return reflect.ValueOf(parsed(t, args...)).FieldByName(row.field).Interface()
			}
			check := func(how string, got, want any) {
				t.Helper()
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %v, want %v", how, got, want)
				}
			}
			check("default", get(), row.def)
			check("flag", get("--"+row.flag+"="+row.text), row.want)
			variable := "STILLPOOL_" + strings.ToUpper(strings.ReplaceAll(row.flag, "-", "_"))
			t.Setenv(variable, row.text)
			check(variable, get(), row.want)
			if def := fmt.Sprint(row.def); row.def != nil && row.flag != "origins" && row.flag != "trusted-proxies" && row.flag != "profile" {
				check("flag over "+variable, get("--"+row.flag+"="+def), row.def)
			}
		})
	}
	if fields := reflect.TypeFor[serveCmd]().NumField(); fields != len(flagTable) {
		t.Errorf("serve has %d flags, the table %d", fields, len(flagTable))
	}
}

func TestOriginsRepeat(t *testing.T) {
	got := parsed(t, "--origins", "https://a.example", "--origins", "https://b.example").Origins
	if want := []string{"https://a.example", "https://b.example"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReusePort(t *testing.T) {
	s := parsed(t, "--addr", "127.0.0.1:0", "--reuse-port")
	first, err := s.listenOn()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for _, shared := range []bool{true, false} {
		s.Addr, s.ReusePort = first.Addr().String(), shared
		second, err := s.listenOn()
		if (err == nil) != shared {
			t.Errorf("shared %v: %v", shared, err)
		}
		if err == nil {
			second.Close()
		}
	}
}

// What an operator can get wrong ends with one line that names it, and a status that scripts see.
func TestErrorsAreOneLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		env    string
		args   string
		status int
		want   string
	}{
		{"nothing", "", "", exitUsage, "serve"},
		{"unknown command", "", "sevre", exitUsage, "sevre"},
		{"unknown flag", "", "serve --evry 1s", exitUsage, "--evry"},
		{"bad duration", "", "serve --every soon", exitUsage, "--every"},
		{"no tick", "", "serve --every 0s", exitUsage, "--every"},
		{"negative tick", "", "serve --every=-1s", exitUsage, "--every"},
		{"tick too short", "", "serve --every 10us", exitUsage, "--every"},
		{"tick too long", "", "serve --every 9999h", exitUsage, "--every"},
		{"tick not whole", "", "serve --every 1500us", exitUsage, "--every"},
		{"no write timeout", "", "serve --write-timeout 0s", exitUsage, "--write-timeout"},
		{"negative keepalive", "", "serve --keepalive=-1s", exitUsage, "--keepalive"},
		{"no pong timeout", "", "serve --pong-timeout 0s", exitUsage, "--pong-timeout"},
		{"negative delay", "", "serve --drain-delay=-1s", exitUsage, "--drain-delay"},
		{"delay too long", "", "serve --drain-delay 9999h", exitUsage, "--drain-delay"},
		{"negative", "", "serve --loops=-1", exitUsage, "--loops"},
		{"negative rate", "", "serve --handshake-rate=-1", exitUsage, "--handshake-rate"},
		{"rate too high", "", "serve --handshake-rate=1000001", exitUsage, "--handshake-rate"},
		{"burst too long", "", "serve --handshake-burst=1000001", exitUsage, "--handshake-burst"},
		{"negative head", "", "serve --max-header-bytes=-1", exitUsage, "--max-header-bytes"},
		{"no prefix of IPv4", "", "serve --ipv4-prefix=33", exitUsage, "--ipv4-prefix"},
		{"no prefix of IPv6", "", "serve --ipv6-prefix=0", exitUsage, "--ipv6-prefix"},
		{"no proxy", "", "serve --trusted-proxies 10.0.0.0/8,me", exitUsage, "me"},
		{"no network", "", "serve --trusted-proxies 10.0.0.0/33", exitUsage, "10.0.0.0/33"},
		{"bad proxy in environment", "STILLPOOL_TRUSTED_PROXIES=10.0.0", "serve", exitUsage, "10.0.0"},
		{"bad number", "", "serve --max-conns many", exitUsage, "--max-conns"},
		{"unknown poller", "", "serve --poller kqueue", exitUsage, "--poller"},
		{"unknown level", "", "serve --log-level loud", exitUsage, "--log-level"},
		{"unknown profile", "", "serve --profile disk", exitUsage, "--profile"},
		{"bad admin", "", "serve --admin nonsense", exitUsage, "--admin"},
		{"admin without a port", "", "serve --admin localhost:", exitUsage, "--admin"},
		{"bad pprof", "", "serve --pprof nonsense", exitUsage, "--pprof"},
		{"pprof without a port", "", "serve --pprof localhost:", exitUsage, "--pprof"},
		{"malformed origin", "", "serve --addr 127.0.0.1:0 --origins https://", exitUsage, "https://"},
		{"bad environment", "STILLPOOL_EVERY=soon", "serve", exitUsage, "STILLPOOL_EVERY"},
		{"bad choice in environment", "STILLPOOL_POLLER=kqueue", "serve", exitUsage, "kqueue"},
		{"bad level in environment", "STILLPOOL_LOG_LEVEL=loud", "serve", exitUsage, "loud"},
		{"taken port", "", "serve --addr " + taken.Addr().String(), exitFailed, taken.Addr().String()},
		{"taken admin port", "", "serve --addr 127.0.0.1:0 --admin " + taken.Addr().String(), exitFailed, "--admin: listen tcp " + taken.Addr().String()},
		{"taken pprof port", "", "serve --addr 127.0.0.1:0 --pprof " + taken.Addr().String(), exitFailed, "--pprof: listen tcp " + taken.Addr().String()},
		{"bad address", "", "serve --addr nonsense", exitFailed, "nonsense"},
		{"no path", "", "serve --addr unix:", exitUsage, "--addr"},
		{"a path that is a file", "", "serve --addr unix:" + file, exitFailed, file},
		{"a folder that is not there", "", "serve --addr unix:" + file + "/x", exitFailed, file},
		{"bad permissions", "", "serve --addr unix:" + file + " --socket-mode 0668", exitUsage, "--socket-mode"},
		{"permissions of all kinds", "", "serve --addr unix:" + file + " --socket-mode 4777", exitUsage, "--socket-mode"},
		{"a unix socket's port", "", "serve --addr unix:" + file + " --reuse-port", exitUsage, "--reuse-port"},
		{"profile folder is a file", "", "serve --addr 127.0.0.1:0 --profile cpu --profile-dir " + file, exitFailed, file},
		{"profile folder in a file", "", "serve --addr 127.0.0.1:0 --profile heap --profile-dir " + file + "/x", exitFailed, file},
		{"profile file is a folder", "", "serve --addr 127.0.0.1:0 --profile cpu --profile-dir " + folderInPlace(t), exitFailed, "cpu.pprof"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if name, value, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, value)
			}
			status, out, errs := ran(strings.Fields(c.args)...)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			if strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "stillpool: ") || !strings.Contains(errs, c.want) {
				t.Errorf("want one line about %q on stderr, got\n%s", c.want, errs)
			}
			if out != "" {
				t.Errorf("stdout has %q", out)
			}
		})
	}
}

// folderInPlace makes a folder that has another folder where the profile would go.
func folderInPlace(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "cpu.pprof"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
