package placement

import "github.com/concertina-rtc/concertina/internal/cluster/script"

// ReadPolicy changes a policy by the options of a scenario's command: kind,
// sort, spill, share, cpu-limit, sysload-limit, expect, expect-for,
// reserve-limit, spread, idle, threshold, node-cpu, agent-cpu, agent-load and
// plain.
func ReadPolicy(c *script.Command, p Policy) (Policy, error) {
	r := script.Reader{Command: c}
	kind, sort, spill := string(p.Kind), string(p.SortBy), string(p.Spill)
	r.Text("kind", &kind)
	r.Text("sort", &sort)
	r.Text("spill", &spill)
	p.Kind, p.SortBy, p.Spill = Selector(kind), SortBy(sort), Spill(spill)
	r.Float("share", &p.MaxRoomShare)
	r.Float("cpu-limit", &p.CPULoadLimit)
	r.Float("sysload-limit", &p.SysLoadLimit)
	r.Int("expect", &p.ExpectParticipants)
	r.Duration("expect-for", &p.ExpectFor)
	r.Float("reserve-limit", &p.ReserveLimit)
	r.Bool("spread", &p.Egress.Spread)
	r.Float("idle", &p.Ingress.MinIdleRatio)
	r.Float("threshold", &p.Agent.Threshold)
	r.Float("node-cpu", &p.Agent.MaxNodeCPU)
	r.Float("agent-cpu", &p.Agent.CPU)
	r.Float("agent-load", &p.Agent.Load)
	r.Bool("plain", &p.IgnorePlaced)
	return p, r.Err()
}
