// Package compose holds what runs Conveyance in containers, and the tests of it that need no container
// engine. It has no code of its own.
package compose
