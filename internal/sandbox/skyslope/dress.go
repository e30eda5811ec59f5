package skyslope

// bomEvery is how many answers lie between two that begin with a byte order mark.
const bomEvery = 7

const bom = "\xef\xbb\xbf"

// dress writes control characters as they are instead of escaped, which no JSON parser takes, and
// puts a byte order mark in front of some answers.
func (s *api) dress(body []byte) []byte {
	out := rawControls(body)
	if s.answers.Add(1)%bomEvery == 0 {
		out = append([]byte(bom), out...)
	}
	return out
}

// rawControl is the character that an escape stands for, where the vendor was seen to send it raw.
func rawControl(escape string) (byte, bool) {
	switch escape {
	case `\u0000`:
		return 0x00, true
	case `\u0001`:
		return 0x01, true
	case `\u001a`:
		return 0x1a, true
	default:
		return 0, false
	}
}

func rawControls(body []byte) []byte {
	const escape = len(`\u0000`)
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			out = append(out, body[i])
			continue
		}
		if c, ok := rawControl(string(body[i:min(i+escape, len(body))])); ok {
			out = append(out, c)
			i += escape - 1
			continue
		}
		out = append(out, body[i])
		if i+1 < len(body) { // the character behind a backslash begins no escape
			i++
			out = append(out, body[i])
		}
	}
	return out
}
