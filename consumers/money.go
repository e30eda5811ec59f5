package consumers

import (
	"strconv"
	"strings"

	"golang.org/x/text/currency"

	"conveyance/avro/event"
)

// digits of a currency's minor unit when the currency is unknown: nearly all have two.
const digits = 2

// Major is an amount in major units as a decimal number: 512000.00 for 51200000 cents.
func Major(m event.Money) string {
	scale := digits
	if unit, err := currency.ParseISO(m.Currency); err == nil {
		scale, _ = currency.Standard.Rounding(unit)
	}
	text, sign := strconv.FormatInt(m.Minor, 10), ""
	if m.Minor < 0 {
		text, sign = text[1:], "-"
	}
	if scale == 0 {
		return sign + text
	}
	for len(text) <= scale {
		text = "0" + text
	}
	return sign + text[:len(text)-scale] + "." + text[len(text)-scale:]
}

// Amount is an amount as people read it: 512,000.00 USD.
func Amount(m event.Money) string {
	whole, fraction, broken := strings.Cut(Major(m), ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if broken {
		whole += "." + fraction
	}
	return sign + whole + " " + m.Currency
}
