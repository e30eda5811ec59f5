package wire

import "encoding/binary"

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
	opInt opcode = iota
	opLong
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

// opNumber is the last op whose value is a number that may be anything where it is one byte.
const opNumber = opMillis

// array is where a walk stands within an array.
type array struct {
	left int // items of the block
	end  int // of the block, -1 where the block does not state its size
	min  int // least bytes of an item
}

// walk checks that b is exactly one message of the program's schema; where it is not, it returns the
// byte and the op at which it stopped, -1 where the program had ended. Its cost grows with the bytes
// of b alone, since each item takes at least one, and it allocates nothing.
//
// What most fields are, a short text in ASCII, a small number, an absent value, is read here; all
// else, and all that is wrong, by the cursor's methods.
func (p *program) walk(b []byte) (at, pc int, f fault) {
	c := cursor{b: b}
	var stack [depthMax]array
	depth := -1
	for pc = 0; pc < len(p.ops); pc++ {
		o := &p.ops[pc]
		small := byte(0xff) // a number of one byte, zigzag and all; 0xff is none
		if c.pos < len(b) && b[c.pos] < 0x80 {
			small = b[c.pos]
		}
		switch {
		case o.code == opString && small&0x81 == 0:
			if end := c.pos + 1 + int(small>>1); end <= len(b) && ascii(b[c.pos+1:end]) {
				c.pos = end
				continue
			}
			c.string()
		case o.code == opNullable && small == 0:
			c.pos++
			pc = o.to - 1
			continue
		case o.code <= opNumber && small != 0xff:
			c.pos++
			continue
		case o.code == opArray:
			depth++
			stack[depth].min = o.n
			if !c.block(&stack[depth]) {
				depth--
				pc = o.to - 1
			}
		case o.code == opNext:
			if c.next(&stack[depth]) {
				pc = o.to - 1
			} else {
				depth--
			}
		default:
			c.value(o)
		}
		if c.fault != none {
			return c.pos, pc, c.fault
		}
	}
	if c.pos < len(b) {
		return c.pos, -1, leftOver
	}
	return c.pos, -1, none
}

func ascii(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	var or byte
	for _, x := range b {
		or |= x
	}
	return or < 0x80
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
