package discovery

import "fmt"

// MaxProblems is how many problems of one answer are worth telling: they go into the log as one
// line, and into the status.
const MaxProblems = 100

// Few keeps the first MaxProblems of an Update's Problems, and says how many there are besides.
func Few(problems []string) []string {
	if more := len(problems) - MaxProblems; more > 0 {
		return append(problems[:MaxProblems:MaxProblems], fmt.Sprintf("and %d more", more))
	}
	return problems
}
