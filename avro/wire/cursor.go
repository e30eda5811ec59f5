package wire

import (
	"math"
	"unicode/utf8"
)

// cursor reads Avro's values and stands still at the first fault.
type cursor struct {
	b     []byte
	pos   int
	items int // of all arrays so far
	fault fault
	depth int // arrays that it is within
	stack [depthMax]array
}

// array is where a walk stands within an array.
type array struct {
	left int // items of the block
	end  int // of the block, -1 where the block does not state its size
	min  int // least bytes of an item
}

func (c *cursor) fail(f fault) {
	if c.fault == none {
		c.fault = f
	}
}

// step reads one op's value and returns the op to go on with, 0 for the next one: no op jumps to
// the program's first.
func (c *cursor) step(o op) int {
	switch o.code {
	case opLong:
		c.long()
	case opInt:
		c.int()
	case opDate:
		c.within(c.int(), daysMin, daysMax)
	case opMillis:
		c.within(c.long(), millisMin, millisMax)
	case opBoolean:
		c.boolean()
	case opString:
		c.string()
	case opBytes:
		c.skip(c.long(), bytesBytesMax)
	case opEnum:
		c.enum(int(o.n))
	case opNullable:
		return c.branch(o)
	case opArray:
		c.stack[c.depth] = array{min: int(o.n)}
		if !c.block(&c.stack[c.depth]) {
			return int(o.to)
		}
		c.depth++
	case opNext:
		if c.next(&c.stack[c.depth-1]) {
			return int(o.to)
		}
		c.depth--
	}
	return 0
}

func (c *cursor) long() int64 { return c.varint(10, 0x01) }

func (c *cursor) int() int64 { return c.varint(5, 0x0f) }

// varint reads at most width bytes, of which the last may be at most top: what is more would not
// fit, and hamba drops it without a word.
func (c *cursor) varint(width int, top byte) int64 {
	var u uint64
	for i := range width {
		if c.pos+i >= len(c.b) {
			c.fail(endsInNumber)
			return 0
		}
		b := c.b[c.pos+i]
		if i == width-1 && b > top {
			break
		}
		u |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.pos += i + 1
			return int64(u>>1) ^ -int64(u&1) // zigzag
		}
	}
	c.fail(numberTooWide)
	return 0
}

func (c *cursor) within(v, low, high int64) {
	if v < low || v > high {
		c.fail(outOfTime)
	}
}

func (c *cursor) boolean() {
	switch {
	case c.pos == len(c.b):
		c.fail(endsInBoolean)
	case c.b[c.pos] > 1:
		c.fail(notBoolean)
	default:
		c.pos++
	}
}

func (c *cursor) enum(symbols int) {
	if i := c.int(); i < 0 || i >= int64(symbols) {
		c.fail(notSymbol)
	}
}

// branch reads the index of a union of null and one type, which takes one byte.
func (c *cursor) branch(o op) int {
	if c.pos == len(c.b) {
		c.fail(endsInUnion)
		return 0
	}
	c.pos++
	switch c.b[c.pos-1] {
	case 0:
		return int(o.to)
	case index1:
	default:
		c.pos--
		c.fail(notBranch)
	}
	return 0
}

func (c *cursor) string() {
	start := c.skip(c.long(), stringBytesMax)
	if c.fault == none && !utf8.Valid(c.b[start:c.pos]) {
		c.fail(notUTF8)
	}
}

// skip passes over n bytes and returns where they start.
func (c *cursor) skip(n int64, limit int64) (start int) {
	switch {
	case c.fault != none:
	case n < 0:
		c.fail(negativeLength)
	case n > int64(len(c.b)-c.pos):
		c.fail(lengthBeyond)
	case n > limit:
		c.fail(lengthOverLimit)
	default:
		start = c.pos
		c.pos += int(n)
	}
	return start
}

// block enters the next block of an array; false at the array's end.
func (c *cursor) block(a *array) bool {
	n := c.long()
	room := int64(len(c.b) - c.pos)
	a.end = -1
	if n < 0 && c.fault == none { // a negative count is followed by the block's size in bytes
		if n == math.MinInt64 {
			c.fail(countBeyond)
			return true
		}
		n = -n
		size := c.long()
		room = int64(len(c.b) - c.pos)
		if size < 0 || size > room {
			c.fail(blockBeyond)
			return true
		}
		room, a.end = size, c.pos+int(size)
	}
	switch {
	case c.fault != none:
		return true
	case n > room/int64(a.min):
		c.fail(countBeyond)
		return true
	case n > int64(itemsMax-c.items):
		c.fail(itemsOverLimit)
		return true
	}
	a.left = int(n)
	c.items += a.left
	return n > 0
}

// next goes on after an item: true where another follows, in this block or the next.
func (c *cursor) next(a *array) bool {
	if a.left--; a.left > 0 {
		return true
	}
	if a.end >= 0 && c.pos != a.end {
		c.fail(blockMismatch)
		return true
	}
	return c.block(a)
}
