package h2

// Lists that a stream may be in.
const (
	inAll  = iota // of its connection
	inLine        // of those that wait to send
	lists
)

type links struct{ prev, next *stream }

// A list is a doubly linked one through the streams themselves.
type list struct {
	first, last *stream
	of          int // which of a stream's links
	len         int
}

func (l *list) push(s *stream) {
	s.links[l.of] = links{prev: l.last}
	if l.last == nil {
		l.first = s
	} else {
		l.last.links[l.of].next = s
	}
	l.last = s
	s.in[l.of] = true
	l.len++
}

func (l *list) unshift(s *stream) {
	s.links[l.of] = links{next: l.first}
	if l.first == nil {
		l.last = s
	} else {
		l.first.links[l.of].prev = s
	}
	l.first = s
	s.in[l.of] = true
	l.len++
}

// shift takes the first one out, or returns nil.
func (l *list) shift() *stream {
	s := l.first
	if s != nil {
		l.remove(s)
	}
	return s
}

// remove takes s out if it is in.
func (l *list) remove(s *stream) {
	if !s.in[l.of] {
		return
	}
	k := s.links[l.of]
	if k.prev == nil {
		l.first = k.next
	} else {
		k.prev.links[l.of].next = k.next
	}
	if k.next == nil {
		l.last = k.prev
	} else {
		k.next.links[l.of].prev = k.prev
	}
	s.links[l.of], s.in[l.of] = links{}, false
	l.len--
}
