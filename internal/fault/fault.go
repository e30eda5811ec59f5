// Package fault holds the places at which tests break the product: named crash points, and named
// mistakes (mutants) that the judge must notice. In a release build both are empty functions that
// the compiler removes; only a build with -tags faults can be told to fail, by its environment.
package fault
