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
		{"the second pattern", "http://b", "example.com", []string{"http://a", "http://b"}, true},
		{"patterns beside the same origin", "http://example.com", "example.com", []string{"http://a"}, true},
		{"none of the patterns", "http://c", "example.com", []string{"http://a", "null", "*.b"}, false},
	} {
		var patterns []originPattern
		for _, s := range c.patterns {
			p, err := parseOrigin(s)
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
		"http://a?x", "http://a#x", "http://u@a", "a b", ":80", "http://.a"} {
		if p, err := parseOrigin(s); err == nil {
			t.Errorf("%q is taken for %+v", s, p)
		}
	}
}
