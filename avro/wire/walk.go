package wire

import (
	"encoding/binary"
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

// op is eight bytes, so that a program stays in the first cache.
type op struct {
	code opcode
	n    uint16 // enum: symbols; array: least bytes of an item
	to   uint16 // nullable: past the value; array: past the array; next: the item's first op
}

type opcode uint8

const (
	opLong opcode = iota
	opInt
	opDate
	opMillis
	opBoolean
	opString
	opBytes
	opEnum
	opNullable // union of null and the ops that follow
	opArray    // the item's ops and opNext follow
	opNext
)

const (
	large  = 0x80 // the bit of a byte that says that its number goes on
	index1 = 2    // the branch of a union that is not null, in zigzag
)

// walk checks that b is exactly one message of the program's schema; where it is not, it returns the
// byte and the op at which it stopped, -1 where the program had ended. Its cost grows with the bytes
// of b alone, since each item takes at least one, and it allocates nothing.
//
// What most fields are, a short text in ASCII, a small number, an absent value, is read here with
// nothing in memory but b; all else, and all that is wrong, by the cursor.
func (p *program) walk(b []byte) (at, pc int, f fault) {
	c := cursor{b: b}
	pos := 0
	for pc = 0; pc < len(p.ops); pc++ {
		o := p.ops[pc]
		next := byte(large)
		if pos < len(b) {
			next = b[pos]
		}
		switch o.code {
		case opString:
			end := pos + 1 + int(next>>1)
			if next&(large|1) == 0 && end <= len(b) && ascii(b, pos+1, end) {
				pos = end
				continue
			}
		case opNullable, opArray:
			if next == 0 { // null, or no items
				pos++
				pc = int(o.to) - 1
				continue
			}
			if next == index1 && o.code == opNullable {
				pos++
				continue
			}
		case opLong, opInt, opDate, opMillis:
			if next < large {
				pos++
				continue
			}
		case opBoolean:
			if next <= 1 {
				pos++
				continue
			}
		case opEnum:
			if next&(large|1) == 0 && uint16(next>>1) < o.n {
				pos++
				continue
			}
		case opBytes, opNext: // always the cursor's
		}
		c.pos = pos
		if jump := c.step(o); jump != 0 {
			pc = jump - 1
		}
		if pos = c.pos; c.fault != none {
			return pos, pc, c.fault
		}
	}
	if pos < len(b) {
		return pos, -1, leftOver
	}
	return pos, -1, none
}

// ascii looks at eight bytes at a time; a text shorter than that is looked at together with what
// stands before it, so that its length costs no branch.
func ascii(b []byte, start, end int) bool {
	const word, high = 8, 0x8080808080808080
	if end < word {
		return utf8.Valid(b[start:end])
	}
	last := binary.LittleEndian.Uint64(b[end-word : end])
	if n := end - start; n < word {
		return last>>(8*(word-n))&high == 0
	}
	for ; start < end-word; start += word {
		if binary.LittleEndian.Uint64(b[start:start+word])&high != 0 {
			return false
		}
	}
	return last&high == 0
}

// fault is what is wrong with a message at one byte.
type fault uint8

const (
	none fault = iota
	endsInNumber
	endsInBoolean
	endsInUnion
	leftOver
	numberTooWide
	notBoolean
	notSymbol
	notBranch
	notUTF8
	outOfTime
	negativeLength
	lengthBeyond
	lengthOverLimit
	countBeyond
	blockBeyond
	blockMismatch
	itemsOverLimit
)

func (f fault) String() string {
	return [...]string{
		none:            "nothing is wrong",
		endsInNumber:    "ends within a number",
		endsInBoolean:   "ends before a boolean",
		endsInUnion:     "ends before a union",
		leftOver:        "bytes are left over",
		numberTooWide:   "number does not fit its type",
		notBoolean:      "boolean is neither 0 nor 1",
		notSymbol:       "enum has no such symbol",
		notBranch:       "union has no such branch",
		notUTF8:         "text is not UTF-8",
		outOfTime:       "time is outside the years 1 to 9999",
		negativeLength:  "length is negative",
		lengthBeyond:    "length is beyond the end",
		lengthOverLimit: "length is over the limit",
		countBeyond:     "count is beyond the end",
		blockBeyond:     "block is beyond the end",
		blockMismatch:   "block is not as long as it says",
		itemsOverLimit:  "items are over the limit",
	}[f]
}
