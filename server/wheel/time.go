package wheel

// Time counts slots. How long a slot is, is the caller's business: 5 ms, say. The count wraps around,
// so a time means something only beside another that is near it; see [Time.Before].
type Time uint32

// Horizon is how far ahead of the wheel's time a due time may lie, and how far the wheel's time may
// be moved at once. It is half of the circle: what lies farther ahead looks as if it lay behind. At
// 5 ms a slot it is 124 days.
const Horizon Time = 1<<31 - 1

// Before reports whether t is earlier than u, by their signed difference. It is right for two times
// that are at most Horizon apart, on whichever side of the wrap each of them is.
func (t Time) Before(u Time) bool { return int32(t-u) < 0 }
