package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stillpool/stillpool/server"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		kind server.Kind
		data string
		want *refusal
	}{
		{server.Text, `{"msg":"stuff!"}`, nil},
		{server.Text, " {\n\t\"msg\" : \"stuff!\" } \n", nil},
		{server.Text, `{"msg":"stuff\u0021"}`, nil},
		{server.Text, `"{msg: \"stuff!\"}"`, nil}, // the oldest client's
		{server.Text, ` "{msg: \u0022stuff!\u0022}" `, nil},

		{server.Binary, `{"msg":"stuff!"}`, notText},
		{server.Binary, ``, notText},

		{server.Text, ``, notJSON},
		{server.Text, `stuff!`, notJSON},
		{server.Text, `{msg: "stuff!"}`, notJSON},
		{server.Text, `{"msg":"stuff!"`, notJSON},
		{server.Text, `{"msg":"stuff!"}{"msg":"stuff!"}`, notJSON},
		{server.Text, strings.Repeat("[", maxStuff), notJSON},

		{server.Text, `{"msg":"nonsense"}`, notStuff},
		{server.Text, `{"MSG":"stuff!"}`, notStuff},
		{server.Text, `{"msg":"stuff!","more":1}`, notStuff},
		{server.Text, `{"msg":["stuff!"]}`, notStuff},
		{server.Text, `{}`, notStuff},
		{server.Text, `null`, notStuff},
		{server.Text, `[{"msg":"stuff!"}]`, notStuff},
		{server.Text, `"stuff!"`, notStuff},
		{server.Text, `"{\"msg\":\"stuff!\"}"`, notStuff},
	} {
		if got := judge(c.kind, []byte(c.data)); got != c.want {
			t.Errorf("%v %q: got %v, want %v", c.kind, c.data, got, c.want)
		}
	}
}

func TestCommonStuffAllocatesNothing(t *testing.T) {
	for _, data := range [][]byte{[]byte(stuffObject), []byte(stuffString)} {
		if n := testing.AllocsPerRun(100, func() { judge(server.Text, data) }); n != 0 {
			t.Errorf("%s: %v allocations", data, n)
		}
	}
}

// A reason must fit into a close frame, RFC 6455 section 5.5.
func TestReasonsFit(t *testing.T) {
	for _, r := range []*refusal{notText, notJSON, notStuff} {
		if len(r.reason) > 123 {
			t.Errorf("%q is %d bytes long", r.reason, len(r.reason))
		}
	}
}

func TestExcerpt(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"plain":                        "plain",
		"naïve ✓":                      "naïve ✓",
		"two\nlines\t":                 `two\nlines\t`,
		"\x1b[31mred":                  `\x1b[31mred`,
		"\u009b31m":                    `\u009b31m`,
		"\u202eabc":                    `\u202eabc`,
		"\xff\x00":                     `\xff\x00`,
		strings.Repeat("a", 64):        strings.Repeat("a", 64),
		strings.Repeat("a", 65):        strings.Repeat("a", 64) + "…",
		strings.Repeat("a", 63) + "✓b": strings.Repeat("a", 63) + `\xe2…`,
	} {
		if got := excerpt([]byte(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzJudge(f *testing.F) {
	for _, s := range []string{stuffObject, stuffString, stuffLiteral, `{}`, `"`, "\xff", `{"msg":"stuff!","msg":1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := judge(server.Text, []byte(s))
		if !json.Valid([]byte(s)) {
			if got != notJSON {
				t.Fatalf("not JSON, got %v", got)
			}
			return
		}
		// The judgement depends on the value, not on how it was written.
		var value any
		json.Unmarshal([]byte(s), &value)
		plain, _ := json.Marshal(value)
		if again := judge(server.Text, plain); again != got {
			t.Fatalf("got %v, but %v for %s", got, again, plain)
		}
		stuff := string(plain) == stuffObject || string(plain) == stuffString
		if stuff != (got == nil) {
			t.Fatalf("%s: got %v", plain, got)
		}
		if words := excerpt([]byte(s)); !utf8.ValidString(words) || strings.ContainsAny(words, "\n\r\x1b") {
			t.Fatalf("excerpt %q", words)
		}
	})
}
