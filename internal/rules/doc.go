// Package rules holds the code to what was agreed and no compiler checks: which package may
// import which, who alone may use a library, that no state hides in packages, that files
// stay short and names mean something. It is tests only; each rule tells its reason when it
// fails, and has a test that breaks it.
//
// Calls that are forbidden stand in .golangci.yml.
package rules
