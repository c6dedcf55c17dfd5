package e2e

import "testing"

// One connection that asks one request after the other has nobody beside it from whom the
// sidecar could learn that it is the instance, and not the service, that says nothing.
func TestOneClientAloneDoesNotWaitForOneThatIsGone(t *testing.T) {
	t.Parallel()
	for name, strike := range map[string]func(*testing.T) *victim{"stopped": stopped, "cut off": cutOff} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := strike(t)
			v.cause = []string{"timed out"}
			isGone(t, v, 1)
		})
	}
}
