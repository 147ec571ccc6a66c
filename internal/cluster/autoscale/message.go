package autoscale

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Round2 rounds to two decimals, half away from zero, as the published figures do.
func round2(x float64) float64 { return math.Round(x*100) / 100 }

// short writes a number with at most two decimals and no trailing zeros.
func short(x float64) string { return strconv.FormatFloat(round2(x), 'f', -1, 64) }

// totalsLine is the published line of every tick. The counts are those after
// the decision.
func totalsLine(m Measure, p Plan) string {
	toWaiting := 0
	for _, d := range p.Terminate.Running {
		if d.To == "waiting-idle-to-terminate" {
			toWaiting++
		}
	}
	return fmt.Sprintf("TOTAL LOAD =%s %%, AVG LOAD =%s %%, NODES in the cluster [R=%d W=%d L=%d C=%d]",
		short(m.TotalLoad), short(m.AvgLoad),
		m.Running+len(p.Launch.Waiting)-len(p.Terminate.Running),
		m.Waiting-len(p.Launch.Waiting)+toWaiting,
		m.Launching+len(p.Launch.Canceled)+p.NodesToLaunch()-len(p.Terminate.Launching),
		m.Canceled-len(p.Launch.Canceled)+len(p.Terminate.Launching))
}

// reason is the wording of the autoscaling event. What the load alone decides
// is worded as published; a step that had the last word is named otherwise.
func reason(p Plan, in input, steps []Step) string {
	if p.Launch.Total()+p.Terminate.Total() == 0 {
		return ""
	}
	var b strings.Builder
	m, last := in.m, steps[len(steps)-1]
	current := fmt.Sprintf("Current number of active nodes is %d (%d launching and %d running).", m.Active, m.Launching, m.Running)
	switch {
	case m.Active < in.p.MinNodes:
		fmt.Fprintf(&b, "The number of active Media Nodes (%d) is below its lower limit (%d). %s", m.Active, in.p.MinNodes, current)
	case m.Active > in.p.MaxNodes:
		fmt.Fprintf(&b, "The number of active Media Nodes (%d) is above its upper limit (%d). %s", m.Active, in.p.MaxNodes, current)
	case last.By != "load":
		fmt.Fprintf(&b, "The cluster average load is %.2f%%, its limits are [%.2f%%, %.2f%%], and the %s policy wants %d Media Nodes: %s. %s",
			round2(m.AvgLoad), in.p.MinLoad, in.p.MaxLoad, last.By, last.Target, last.Note, current)
	case p.Launch.Total() > 0:
		fmt.Fprintf(&b, "The cluster average load (%.2f%%) is above its limits [%.2f%%, %.2f%%] and the upper limit of Media Nodes (%d) has not been reached. %s",
			round2(m.AvgLoad), in.p.MinLoad, in.p.MaxLoad, in.p.MaxNodes, current)
	default:
		fmt.Fprintf(&b, "The cluster average load (%.2f%%) is below its limits [%.2f%%, %.2f%%] and the lower limit of Media Nodes (%d) has not been reached. %s",
			round2(m.AvgLoad), in.p.MinLoad, in.p.MaxLoad, in.p.MinNodes, current)
	}
	if n := p.Launch.Total(); n > 0 {
		fmt.Fprintf(&b, " %d new Media Nodes will be launched.", n)
	}
	if n := len(p.Terminate.Launching); n > 0 {
		fmt.Fprintf(&b, " %d launching Media Nodes will be canceled.", n)
	}
	if n := len(p.Terminate.Running); n > 0 {
		fmt.Fprintf(&b, " %d Media Nodes will be terminated.", n)
	}
	return b.String()
}

// baseNote explains what the published algorithm made of the measure.
func baseNote(m Measure, p Policy) string {
	switch {
	case !m.Known:
		return "no load is known"
	case m.Active == 0:
		return "no node is active"
	case m.AvgLoad > p.MaxLoad && m.Active >= p.MaxNodes:
		return fmt.Sprintf("average %s%% is above %s%%, but max_nodes %d is reached", short(m.AvgLoad), short(p.MaxLoad), p.MaxNodes)
	case m.AvgLoad > p.MaxLoad:
		return fmt.Sprintf("average %s%% is above %s%%", short(m.AvgLoad), short(p.MaxLoad))
	case m.AvgLoad < p.MinLoad && m.Active <= p.MinNodes:
		return fmt.Sprintf("average %s%% is below %s%%, but min_nodes %d is reached", short(m.AvgLoad), short(p.MinLoad), p.MinNodes)
	case m.AvgLoad < p.MinLoad:
		return fmt.Sprintf("average %s%% is below %s%%", short(m.AvgLoad), short(p.MinLoad))
	}
	return fmt.Sprintf("average %s%% is within the limits", short(m.AvgLoad))
}
