//go:build linux

package server

import "testing"

func TestOriginAllowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, origin, host string
		patterns           []string
		want               bool
	}{
		{"same", "http://example.com", "example.com", nil, true},
		{"same, with its port", "http://example.com:8080", "example.com:8080", nil, true},
		{"same, in another case", "HTTP://Example.COM", "eXAMPLE.com", nil, true},
		{"same, default port said by Host", "http://example.com", "example.com:80", nil, true},
		{"same, default port said by Origin", "http://example.com:80", "example.com", nil, true},
		{"same, behind a proxy that ends TLS", "https://example.com", "example.com", nil, true},
		{"same, an IPv6 address", "http://[::1]:8080", "[::1]:8080", nil, true},
		{"same, an IPv6 address and the default port", "http://[::1]:80", "[::1]", nil, true},
		{"same, an IPv6 address without a port", "http://[::1]", "[::1]", nil, true},
		{"another host", "http://evil.com", "example.com", nil, false},
		{"another port", "http://example.com:81", "example.com", nil, false},
		{"another port, of the other scheme", "https://example.com", "example.com:80", nil, false},
		{"a subdomain", "http://www.example.com", "example.com", nil, false},
		{"a longer name", "http://example.com.evil.com", "example.com", nil, false},
		{"a scheme without a port", "capacitor://localhost", "localhost", nil, false},
		{"an extension that is named as the host", "chrome-extension://example", "example", nil, false},
		{"same, IPv6 addresses written in two ways", "http://[::1]", "[0:0::0:1]", nil, true},
		{"same, Host with a colon and no port", "http://example.com", "example.com:", nil, true},
		{"same, https and its port", "https://example.com:443", "example.com", nil, true},
		{"same, https and its port said by Host", "https://example.com", "example.com:443", nil, true},
		{"same, a trailing dot on both", "http://example.com.", "example.com.", nil, true},
		{"same, a name in ASCII", "http://xn--bcher-kva.example", "xn--bcher-kva.example", nil, true},
		{"a trailing dot", "http://example.com.", "example.com", nil, false},
		{"a trailing dot of Host", "http://example.com", "example.com.", nil, false},
		{"the ports of two schemes", "http://example.com:443", "example.com", nil, false},
		{"the ports of two schemes, the other way round", "https://example.com:80", "example.com", nil, false},
		{"a scheme of no page, with a port", "capacitor://localhost:8080", "localhost:8080", nil, false},
		{"a scheme of no page, with a known port", "ftp://example.com:80", "example.com", nil, false},
		{"ws is the scheme of no page", "ws://example.com", "example.com", nil, false},
		{"wss is the scheme of no page", "wss://example.com:443", "example.com:443", nil, false},
		{"no Host", "http://example.com", "", nil, false},
		{"a Host that is none", "http://example.com", "example.com:x", nil, false},
		{"null in another case", "NULL", "example.com", []string{"null"}, false},
		{"null among others", "null, http://example.com", "example.com", []string{"null"}, false},
		{"two values", "http://example.com, http://example.com", "example.com", nil, false},
		{"two values without a space", "http://example.com,http://evil.com", "example.com", nil, false},
		{"two values apart by a space", "http://example.com http://example.com", "example.com", nil, false},
		{"two values, the pattern's last", "http://evil.com, https://app.example", "example.com", []string{"https://app.example", "https://*.app.example"}, false},
		{"one slash", "http:/example.com", "example.com", nil, false},
		{"no slash", "http:example.com", "example.com", nil, false},
		{"a scheme's colon only", "://example.com", "example.com", nil, false},
		{"a scheme of a digit", "1http://example.com", "example.com", nil, false},
		{"a path without an end", "http://example.com/chat", "example.com", nil, false},
		{"a question mark only", "http://example.com?", "example.com", nil, false},
		{"a number sign only", "http://example.com#", "example.com", nil, false},
		{"a backslash", `http://example.com\.evil.com`, "example.com", nil, false},
		{"a user of no name", "http://@example.com", "example.com", nil, false},
		{"a user and a port", "http://u:80@example.com", "example.com", nil, false},
		{"a port of no digits", "http://example.com:", "example.com", nil, false},
		{"a port of letters", "http://example.com:x", "example.com:x", nil, false},
		{"a port out of range", "http://example.com:65536", "example.com:65536", nil, false},
		{"the port 0", "http://example.com:0", "example.com:0", nil, false},
		{"a port with a leading zero", "http://example.com:080", "example.com:080", nil, false},
		{"a port with a sign", "http://example.com:+80", "example.com", nil, false},
		{"two ports", "http://example.com:80:80", "example.com", nil, false},
		{"an IPv6 address without brackets", "http://::1", "::1", nil, false},
		{"an IPv6 address without brackets, with a port", "http://::1:80", "[::1]:80", nil, false},
		{"half a bracket", "http://[::1", "[::1]", nil, false},
		{"the other half", "http://::1]", "[::1]", nil, false},
		{"something behind the bracket", "http://[::1]x", "[::1]x", nil, false},
		{"no IPv6 address", "http://[x]", "[x]", nil, false},
		{"an IPv4 address in brackets", "http://[127.0.0.1]", "[127.0.0.1]", nil, false},
		{"a zone", "http://[fe80::1%25eth0]", "[fe80::1%25eth0]", nil, false},
		{"a zone without an escape", "http://[fe80::1%eth0]", "[fe80::1%eth0]", nil, false},
		{"an escape", "http://ex%61mple.com", "example.com", nil, false},
		{"an escape on both", "http://ex%61mple.com", "ex%61mple.com", nil, false},
		{"beyond ASCII", "http://bücher.example", "bücher.example", nil, false},
		{"a letter whose lower case is in ASCII", "http://\u212Aey.example", "key.example", nil, false},
		{"bytes of no letter", "http://\xff.example", "\xff.example", nil, false},
		{"a dot", "http://.", ".", nil, false},
		{"an empty label", "http://a..b", "a..b", nil, false},
		{"a space before", " http://example.com", "example.com", nil, false},
		{"null", "null", "null", nil, false},
		{"empty", "", "", nil, false},
		{"no scheme", "example.com", "example.com", nil, false},
		{"no host", "http://", "", nil, false},
		{"a path", "http://example.com/", "example.com", nil, false},
		{"a query", "http://example.com?x", "example.com", nil, false},
		{"a user", "http://example.com@evil.com", "evil.com", nil, false},
		{"no URL", "http://exa mple.com", "exa mple.com", nil, false},

		{"pattern", "https://app.example", "example.com", []string{"https://app.example"}, true},
		{"pattern in another case", "https://app.example", "example.com", []string{"HTTPS://App.Example"}, true},
		{"pattern, default port", "https://app.example:443", "example.com", []string{"https://app.example"}, true},
		{"pattern with the default port", "https://app.example", "example.com", []string{"https://app.example:443"}, true},
		{"pattern, another scheme", "http://app.example", "example.com", []string{"https://app.example"}, false},
		{"pattern, another scheme at its port", "http://app.example:443", "example.com", []string{"https://app.example"}, false},
		{"pattern, another port", "https://app.example:444", "example.com", []string{"https://app.example"}, false},
		{"pattern for any scheme", "https://app.example", "example.com", []string{"app.example"}, true},
		{"pattern for any scheme, default port", "http://app.example:80", "example.com", []string{"app.example"}, true},
		{"pattern for any scheme, another port", "http://app.example:443", "example.com", []string{"app.example"}, false},
		{"pattern for any port", "http://localhost:3000", "example.com", []string{"http://localhost:*"}, true},
		{"pattern for any port, the default", "http://localhost", "example.com", []string{"http://localhost:*"}, true},
		{"pattern for any port, another host", "http://localhos:3000", "example.com", []string{"http://localhost:*"}, false},
		{"pattern for subdomains", "https://a.app.example", "example.com", []string{"https://*.app.example"}, true},
		{"pattern for subdomains of any depth", "https://a.b.app.example", "example.com", []string{"https://*.app.example"}, true},
		{"pattern for subdomains, the domain", "https://app.example", "example.com", []string{"https://*.app.example"}, false},
		{"pattern for subdomains, a longer name", "https://evilapp.example", "example.com", []string{"https://*.app.example"}, false},
		{"pattern for subdomains, no name", "https://.app.example", "example.com", []string{"https://*.app.example"}, false},
		{"pattern for an IPv6 address", "http://[::1]:9", "example.com", []string{"http://[::1]:*"}, true},
		{"pattern null", "null", "example.com", []string{"null"}, true},
		{"pattern null, another origin", "http://null", "example.com", []string{"null"}, false},
		{"pattern for all", "http://evil.com", "example.com", []string{"*"}, true},
		{"pattern for all, null", "null", "example.com", []string{"*"}, true},
		{"pattern of another scheme", "chrome-extension://abcdef", "example.com", []string{"chrome-extension://abcdef"}, true},
		{"pattern of another scheme, with a port", "capacitor://localhost:8080", "localhost:8080", []string{"capacitor://localhost:8080"}, true},
		{"pattern of another scheme, another extension", "chrome-extension://abcdeg", "example.com", []string{"chrome-extension://abcdef"}, false},
		{"pattern of another scheme, the same name on the web", "https://abcdef", "example.com", []string{"chrome-extension://abcdef"}, false},
		{"pattern without a scheme, not the web's", "chrome-extension://app.example", "example.com", []string{"app.example", "app.example:*"}, false},
		{"pattern for subdomains, an empty label", "https://..app.example", "example.com", []string{"https://*.app.example"}, false},
		{"pattern for subdomains, a trailing dot", "https://a.app.example.", "example.com", []string{"https://*.app.example"}, false},
		{"pattern for subdomains, a port", "https://a.app.example:8443", "example.com", []string{"https://*.app.example"}, false},
		{"pattern for subdomains and any port", "https://a.app.example:8443", "example.com", []string{"https://*.app.example:*"}, true},
		{"pattern for subdomains, a user", "https://a.app.example@evil.com", "example.com", []string{"https://*.app.example", "https://*.app.example:*"}, false},
		{"pattern for an IPv6 address in another way", "http://[::1]", "example.com", []string{"http://[0::0:1]"}, true},
		{"pattern, a path", "https://app.example/", "example.com", []string{"https://app.example"}, false},
		{"pattern for all, malformed", "http://exa mple.com/", "example.com", []string{"*"}, true},
		{"the second pattern", "http://b", "example.com", []string{"http://a", "http://b"}, true},
		{"patterns beside the same origin", "http://example.com", "example.com", []string{"http://a"}, true},
		{"none of the patterns", "http://c", "example.com", []string{"http://a", "null", "*.b"}, false},
	} {
		var patterns []originPattern
		for _, s := range c.patterns {
			p, err := parseOriginPattern(s)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			patterns = append(patterns, p)
		}
		if got := originAllowed(c.origin, c.host, patterns); got != c.want {
			t.Errorf("%s: %q to %q, allowed %v, want %v", c.name, c.origin, c.host, got, c.want)
		}
	}
}

func TestParseOriginRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "http://", "*.", "https://*", "a.*.com", "https://*.*.com", "http://a/", "http://a/path",
		"http://a?x", "http://a#x", "http://u@a", "a b", ":80", "http://.a",
		"://a", "1http://a", "ht tp://a", "http//a", "http:/a", "http:a:80", "http://a:", "http://a:x", "http://a:0", "http://a:080", "http://a:65536",
		"http://a:*:80", "http://a:80:*", "http://*", "http://*:*", "http://*.", "http://*..a", "http://a..b", "http://a%41", "http://bücher.example",
		"http://::1", "http://[::1", "http://[::1]x", "http://[1.2.3.4]", "http://[fe80::1%eth0]", "http://a,http://b", "**"} {
		if p, err := parseOriginPattern(s); err == nil {
			t.Errorf("%q is taken for %+v", s, p)
		}
	}
}
