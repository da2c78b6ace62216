// Package browsertest has no code: its tests drive the demonstration's page, and the oldest client
// published for it, in a real browser against the real command.
package browsertest
