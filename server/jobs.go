package server

import "slices"

// job is a connection to take a turn with, and the mark it has for standing in the queue.
type job struct {
	conn *Conn
	mark state
}

// jobs is a queue. Its array is kept while it is small, so that short queues cost no allocation.
type jobs struct {
	list []job
	head int // of list, the first that is not taken
}

// keptJobs is up to how many jobs an empty queue keeps room for.
const keptJobs = 256

func (q *jobs) len() int { return len(q.list) - q.head }

func (q *jobs) push(j job) {
	if len(q.list) == cap(q.list) && q.head > len(q.list)/2 {
		q.moveDown()
	}
	q.list = append(q.list, j)
}

// moveDown makes room behind the jobs where those before them were.
func (q *jobs) moveDown() {
	n := copy(q.list, q.list[q.head:])
	clear(q.list[n:])
	q.list, q.head = q.list[:n], 0
}

// first takes the first job. The queue must not be empty.
func (q *jobs) first() job {
	j := q.list[q.head]
	q.list[q.head] = job{} // the array must not keep alive what was taken
	q.head++
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
		if cap(q.list) > keptJobs {
			q.list = nil
		}
	}
	return j
}

// remove takes out the jobs for which gone reports true, and gives back the room of a storm.
func (q *jobs) remove(gone func(job) bool) {
	q.list = slices.Clip(slices.Clone(slices.DeleteFunc(q.list[q.head:], gone)))
	q.head = 0
}
