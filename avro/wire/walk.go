package wire

import (
	"math"
	"unicode/utf8"
)

// What a message may hold at most, whoever wrote it.
const (
	// itemsMax is the array items of one message, all arrays together. A deal of a national
	// franchise has dozens; the limit bounds what a small message can make a reader allocate.
	itemsMax = 10_000
	// stringBytesMax is one string. Kafka's default message is no larger.
	stringBytesMax = 1 << 20
	// bytesBytesMax is one bytes value: a vendor's answer in a snapshot, whose topic allows 4 MiB.
	bytesBytesMax = 4 << 20
	// depthMax is how deep arrays may nest. The schemas of today nest two deep.
	depthMax = 8

	// Times outside the years 1 to 9999 have no form in JSON or RFC 3339, and are always a mistake.
	millisMin, millisMax = -62_135_596_800_000, 253_402_300_799_999
	daysMin, daysMax     = -719_162, 2_932_896
)

// program is a writer schema made flat: what must stand in a message, byte after byte. Shared
// records are written out at each use; only arrays and nulls jump.
type program struct {
	ops   []op
	paths []string // of the field that each op reads, for people
}

type op struct {
	code opcode
	n    int // enum: symbols; array: least bytes of an item
	to   int // nullable: past the value; array: past the array; next: the item's first op
}

type opcode uint8

const (
	opBoolean opcode = iota
	opInt
	opDate
	opLong
	opMillis
	opString
	opBytes
	opEnum
	opNullable // union of null and the ops that follow
	opArray    // the item's ops and opNext follow
	opNext
)

// fault is what is wrong with a message at one byte.
type fault string

// array is where a walk stands within an array.
type array struct {
	left int // items of the block
	end  int // of the block, -1 where the block does not state its size
	min  int // least bytes of an item
}

// walk checks that b is exactly one message of the program's schema. Its cost grows with the bytes
// of b alone: each item takes at least one, and it allocates nothing.
func (p *program) walk(b []byte) (at int, pc int, f fault) {
	c := cursor{b: b}
	var stack [depthMax]array
	depth := -1
	for pc = 0; pc < len(p.ops); pc++ {
		o := &p.ops[pc]
		switch o.code {
		case opString:
			c.string()
		case opLong:
			c.long()
		case opNullable:
			if !c.branch() {
				pc = o.to - 1
			}
		case opEnum:
			c.enum(o.n)
		case opBoolean:
			c.boolean()
		case opInt:
			c.int()
		case opDate:
			c.within(c.int(), daysMin, daysMax)
		case opMillis:
			c.within(c.long(), millisMin, millisMax)
		case opBytes:
			c.skip(c.long(), bytesBytesMax)
		case opArray:
			depth++
			stack[depth].min = o.n
			if !c.block(&stack[depth]) {
				depth--
				pc = o.to - 1
			}
		case opNext:
			if c.next(&stack[depth]) {
				pc = o.to - 1
			} else {
				depth--
			}
		}
		if c.fault != "" {
			return c.pos, pc, c.fault
		}
	}
	if c.pos < len(b) {
		return c.pos, -1, "bytes are left over"
	}
	return c.pos, -1, ""
}

// cursor reads Avro's primitives and stands still at the first fault.
type cursor struct {
	b     []byte
	pos   int
	items int
	fault fault
}

func (c *cursor) fail(f fault) {
	if c.fault == "" {
		c.fault = f
	}
}

func (c *cursor) long() int64 {
	if c.pos < len(c.b) && c.b[c.pos] < 0x80 {
		u := c.b[c.pos]
		c.pos++
		return int64(u>>1) ^ -int64(u&1)
	}
	return c.varint(10, 0x01)
}

func (c *cursor) int() int64 {
	if c.pos < len(c.b) && c.b[c.pos] < 0x80 {
		u := c.b[c.pos]
		c.pos++
		return int64(u>>1) ^ -int64(u&1)
	}
	return c.varint(5, 0x0f)
}

// varint reads at most width bytes, of which the last may be at most top: what is more would not
// fit, and hamba drops it without a word.
func (c *cursor) varint(width int, top byte) int64 {
	var u uint64
	for i := range width {
		if c.pos+i >= len(c.b) {
			c.fail("ends within a number")
			return 0
		}
		b := c.b[c.pos+i]
		if i == width-1 && b > top {
			break
		}
		u |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.pos += i + 1
			return int64(u>>1) ^ -int64(u&1) //nolint:gosec // G115: zigzag is a bit pattern
		}
	}
	c.fail("number does not fit its type")
	return 0
}

func (c *cursor) within(v, low, high int64) {
	if v < low || v > high {
		c.fail("time is outside the years 1 to 9999")
	}
}

func (c *cursor) boolean() {
	switch {
	case c.pos == len(c.b):
		c.fail("ends before a boolean")
	case c.b[c.pos] > 1:
		c.fail("boolean is neither 0 nor 1")
	default:
		c.pos++
	}
}

func (c *cursor) enum(symbols int) {
	if i := c.int(); i < 0 || i >= int64(symbols) {
		c.fail("enum has no such symbol")
	}
}

// branch reads the index of a union of null and one type; true is the type.
func (c *cursor) branch() bool {
	if c.pos == len(c.b) {
		c.fail("ends before a union")
		return true
	}
	i := c.b[c.pos]
	if i != 0 && i != 2 { // zigzag of 0 and 1
		c.fail("union has no such branch")
		return true
	}
	c.pos++
	return i == 2
}

func (c *cursor) string() {
	start := c.skip(c.long(), stringBytesMax)
	if c.fault == "" && !utf8.Valid(c.b[start:c.pos]) {
		c.fail("text is not UTF-8")
	}
}

// skip passes over n bytes and returns where they start.
func (c *cursor) skip(n int64, limit int64) (start int) {
	switch {
	case c.fault != "":
	case n < 0:
		c.fail("length is negative")
	case n > int64(len(c.b)-c.pos):
		c.fail("length is beyond the end")
	case n > limit:
		c.fail("length is over the limit")
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
	if n < 0 && c.fault == "" { // a negative count is followed by the block's size in bytes
		if n == math.MinInt64 {
			c.fail("count is beyond the end")
			return true
		}
		n = -n
		size := c.long()
		room = int64(len(c.b) - c.pos)
		if size < 0 || size > room {
			c.fail("block is beyond the end")
			return true
		}
		room, a.end = size, c.pos+int(size)
	}
	switch {
	case c.fault != "":
		return true
	case n > room/int64(a.min):
		c.fail("count is beyond the end")
		return true
	case n > int64(itemsMax-c.items):
		c.fail("items are over the limit")
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
		c.fail("block is not as long as it says")
		return true
	}
	return c.block(a)
}
