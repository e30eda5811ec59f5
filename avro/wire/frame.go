package wire

import (
	"encoding/binary"
	"fmt"
)

const (
	// magic begins every value of Confluent's wire format.
	magic = 0
	// frameBytes is the length of magic and schema id.
	frameBytes = 5
)

func appendFrame(dst []byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, magic), id)
}

func splitFrame(value []byte) (id uint32, body []byte, err error) {
	switch {
	case len(value) < frameBytes:
		return 0, nil, fmt.Errorf("%w: %d bytes are shorter than a frame", ErrPoison, len(value))
	case value[0] != magic:
		return 0, nil, fmt.Errorf("%w: first byte is 0x%02x, not 0x00", ErrPoison, value[0])
	}
	return binary.BigEndian.Uint32(value[1:frameBytes]), value[frameBytes:], nil
}
