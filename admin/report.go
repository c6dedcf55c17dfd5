package admin

// A Report is what a reload has changed, or would change: a line for each.
type Report struct {
	Changed []string `json:"changed"`
	// Restart are changes that take effect when the process is started again.
	Restart []string `json:"restart,omitempty"`
}
