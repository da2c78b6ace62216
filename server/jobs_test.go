package server

import "testing"

// TestJobs: a queue is in order, whatever was taken meanwhile, and keeps no more room than it needs.
func TestJobs(t *testing.T) {
	t.Parallel()
	var q jobs
	pushed, taken, most := uint64(0), uint64(0), 0
	for round := range 50 {
		for range round*37%101 + 1 {
			pushed++
			q.push(job{conn: &Conn{id: pushed}})
		}
		most = max(most, q.len())
		for range (round*53%97 + 1) % (q.len() + 1) {
			taken++
			if j := q.first(); j.conn.id != taken {
				t.Fatalf("job %d where %d was to come", j.conn.id, taken)
			}
		}
		if q.len() != int(pushed-taken) || cap(q.list) > 4*most+keptJobs {
			t.Fatalf("%d jobs of %d, %d at most, room for %d", q.len(), pushed-taken, most, cap(q.list))
		}
	}
	q.remove(func(j job) bool { return j.conn.id%2 == 0 })
	for q.len() > 0 {
		if j := q.first(); j.conn.id%2 == 0 {
			t.Errorf("job %d was taken out, and is there", j.conn.id)
		}
	}
	if cap(q.list) > keptJobs {
		t.Errorf("an empty queue keeps room for %d", cap(q.list))
	}
}
