package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stillpool/stillpool/server"
)

// This file is pure: what a peer of /ws may say, and what it is told when it says something else.

const (
	// maxStuff bounds a message to /ws, in bytes. Both ways to say stuff have less than 30; the
	// rest is room for white space, and for the log to show what else somebody sent.
	maxStuff = 1 << 10
	// maxExcerpt bounds what the log shows of a message, in bytes before escaping.
	maxExcerpt = 64
)

// The two ways to say stuff. The oldest published client of this application encodes a string that
// holds a JavaScript literal, JSON.stringify("{msg: \"stuff!\"}"), where it means the object.
const (
	stuffObject  = `{"msg":"stuff!"}`
	stuffLiteral = `{msg: "stuff!"}`
)

// stuffString is stuffLiteral as it comes over the wire.
var stuffString = strconv.Quote(stuffLiteral)

// refusal is why a message was not stuff, in the words of a close frame.
type refusal struct {
	code   server.Code
	reason string
}

// RFC 6455 section 7.4.1 has three codes that come near. 1003 is for "a type of data it cannot
// accept", which binary is, and text in another language than JSON too. 1008 is for "a message that
// violates its policy": it was understood, and it is not what this endpoint takes. 1007 is not for
// either: it says that the bytes are not what the frame claims, such as text that is not UTF-8, and
// package server has seen to that before the message comes here.
var (
	notText  = &refusal{server.CodeUnsupported, `binary; send the text ` + stuffObject}
	notJSON  = &refusal{server.CodeUnsupported, `not JSON; send ` + stuffObject}
	notStuff = &refusal{server.CodePolicy, `not stuff; send ` + stuffObject}
)

// judge answers nil if a message is stuff, and otherwise why it is not.
func judge(kind server.Kind, data []byte) *refusal {
	if kind != server.Text {
		return notText
	}
	// What well-behaved clients send is recognised without decoding, which would allocate.
	if string(data) == stuffObject || string(data) == stuffString {
		return nil
	}
	if !json.Valid(data) {
		return notJSON
	}
	var value any // a number may be valid and too large to be decoded; it is not stuff either
	if json.Unmarshal(data, &value) != nil || !isStuff(value) {
		return notStuff
	}
	return nil
}

func isStuff(value any) bool {
	switch v := value.(type) {
	case string:
		return v == stuffLiteral
	case map[string]any:
		return len(v) == 1 && v["msg"] == "stuff!"
	}
	return false
}

// excerpt is the beginning of a peer's message, fit for a log: bounded, on one line, and without
// anything that a terminal would obey.
func excerpt(data []byte) string {
	cut := len(data) > maxExcerpt
	if cut {
		data = data[:maxExcerpt]
	}
	var b strings.Builder
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			b.WriteString(`\x` + strconv.FormatUint(uint64(data[0])|0x100, 16)[1:])
		} else if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		data = data[size:]
	}
	if cut {
		b.WriteString("…")
	}
	return b.String()
}
