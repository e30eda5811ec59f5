// Package archtest holds the import rules of the tree as a test. It has no code of its own.
package archtest
