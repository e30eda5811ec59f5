// Package event is the contract in Go: one struct per Avro schema (generated), the ids and the
// keys of events. It is pure: no I/O, no clock, no import of ours. Values are plain data; who
// holds one owns it.
package event

//go:generate go run ../schema/gen ../schema event.gen.go

// Type names an event type: the Avro record's name without its namespace.
type Type string

// Message is anything that travels on a topic of the bus.
type Message interface {
	Type() Type
}

// Event is a canonical event: a Message that has an Origin, and so an id and a place in the order
// of its resource.
type Event interface {
	Message
	Source() *Origin
}
