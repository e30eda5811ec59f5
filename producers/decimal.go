package producers

import (
	"errors"
	"strconv"
	"strings"
)

const (
	// AmountMinorMax is the largest amount that a record may state, in cents: 10 billion dollars,
	// an order of magnitude above the dearest property ever sold. What is larger is a slip of the
	// keyboard, and must not reach accounting: the record breaks its contract and parks.
	AmountMinorMax = 10_000_000_000 * 100
	// wholeBasisPoints is all of something.
	wholeBasisPoints = 100 * 100
	// digitsMax fit an int64 whatever they are.
	digitsMax = 18
)

var errDecimal = errors.New("is no decimal number in range")

// ParseDecimal reads a decimal number exactly, as JSON or a person writes it (-1,234.50, $450000,
// 4.5e5), and returns it times 10^places. Half of the last place rounds to even: vendors compute
// percentages to fractions of a cent, and to even no side gains.
func ParseDecimal(text string, places int) (int64, error) {
	if n, ok := plainDecimal(text, places); ok {
		return n, nil
	}
	text = strings.ReplaceAll(text, ",", "")
	text, negative := strings.CutPrefix(text, "-")
	text = strings.TrimPrefix(text, "$")
	mantissa, exponent, err := splitExponent(text)
	if err != nil {
		return 0, err
	}
	whole, fraction, point := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if strings.Trim(digits, "0123456789") != "" || whole == "" || (point && fraction == "") {
		return 0, errDecimal
	}
	n, err := scaled(digits, len(whole)+exponent+places)
	if negative {
		n = -n
	}
	return n, err
}

// plainDecimal reads what most amounts are: digits, and no more behind the point than places.
func plainDecimal(text string, places int) (n int64, ok bool) {
	point := -1
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			n = 10*n + int64(c-'0')
		case c == '.' && point < 0 && i > 0:
			point = i
		default:
			return 0, false
		}
	}
	fraction := 0
	if point >= 0 {
		fraction = len(text) - point - 1
	}
	if len(text) == 0 || len(text)+places > digitsMax || fraction > places || (point >= 0 && fraction == 0) {
		return 0, false
	}
	for ; fraction < places; fraction++ {
		n *= 10
	}
	return n, true
}

// splitExponent takes e5 off. No exponent of an amount is larger than its digits.
func splitExponent(text string) (mantissa string, exponent int, err error) {
	mantissa, rest, found := strings.Cut(strings.ToLower(text), "e")
	if !found {
		return mantissa, 0, nil
	}
	exponent, err = strconv.Atoi(rest)
	if err != nil || exponent < -1000 || exponent > 1000 {
		return "", 0, errDecimal
	}
	return mantissa, exponent, nil
}

// scaled is the number whose first keep digits stand before its point, rounded.
func scaled(digits string, keep int) (int64, error) {
	trimmed := strings.TrimLeft(digits, "0")
	keep -= len(digits) - len(trimmed)
	switch {
	case trimmed == "" || keep < 0:
		return 0, nil
	case keep > digitsMax:
		return 0, errDecimal
	}
	whole, rest := trimmed, ""
	if keep < len(trimmed) {
		whole, rest = trimmed[:keep], trimmed[keep:]
	} else {
		whole += strings.Repeat("0", keep-len(trimmed))
	}
	n, err := strconv.ParseInt("0"+whole, 10, 64)
	if err != nil {
		return 0, errDecimal
	}
	if half := strings.TrimRight(rest, "0"); half > "5" || (half == "5" && n%2 == 1) {
		n++
	}
	return n, nil
}
