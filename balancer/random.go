package balancer

import "sidecar/upstream"

// Random returns the policy that takes any endpoint, in proportion to the weights.
func Random() upstream.Policy {
	return func(c upstream.Candidates) upstream.Picker {
		return randomPicker{newLottery(c.Endpoints, c.Random)}
	}
}

type randomPicker struct{ *lottery }

func (p randomPicker) Pick(_ upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	if len(avoid) == 0 {
		return p.draw()
	}
	return p.drawOther(avoid, nil)
}
