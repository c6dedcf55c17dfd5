package h2

// keepDeparted is how many streams are remembered that we have reset; a power of two.
const keepDeparted = 128

// departed are the streams that we have reset before the peer had ended them. What it has sent
// before it knew is passed over, whereas frames for other closed streams are mistakes.
type departed struct {
	ids       []uint32
	at        int
	forgotten uint32 // the highest that is not remembered any more
}

func (d *departed) add(id uint32) {
	if d.ids == nil {
		d.ids = make([]uint32, keepDeparted)
	}
	d.forgotten = max(d.forgotten, d.ids[d.at])
	d.ids[d.at] = id
	d.at = (d.at + 1) % keepDeparted
}

// has reports whether we have reset the stream, or may have.
func (d *departed) has(id uint32) bool {
	if id <= d.forgotten {
		return true
	}
	for _, known := range d.ids {
		if known == id {
			return true
		}
	}
	return false
}
