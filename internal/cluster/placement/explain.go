package placement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Explanation says how a decision came out. It is data: the API, the command
// line and the console print the same value.
type Explanation struct {
	Request    Request     `json:"request"`
	Version    uint64      `json:"state_version"` // of the state that was decided on
	Rule       string      `json:"rule"`
	Considered int         `json:"considered"` // nodes, or workers for an agent job
	Eligible   int         `json:"eligible"`
	Candidates []Candidate `json:"candidates,omitempty"` // best first; the chosen one is among them
	Refused    []Refusal   `json:"refused,omitempty"`
	Ties       int         `json:"ties,omitempty"` // candidates as good as the chosen one, with it
	Seed       uint64      `json:"seed,omitempty"` // broke the tie
	Chosen     string      `json:"chosen,omitempty"`
	Notes      []string    `json:"notes,omitempty"`
	Outcome    string      `json:"outcome"`
	// Complete is false when an [Index] decided: it lists the chosen candidate
	// only. [Place] on the same state lists all.
	Complete bool `json:"complete"`
}

// Candidate is a node, or a worker on it, that could have been chosen.
type Candidate struct {
	Node   string  `json:"node"`
	Worker string  `json:"worker,omitempty"`
	Tier   string  `json:"tier"`
	Score  float64 `json:"score"` // lower is better
	Note   string  `json:"note,omitempty"`
}

// Refusal is a node, or a worker, that could not.
type Refusal struct {
	Node   string `json:"node,omitempty"`
	Worker string `json:"worker,omitempty"`
	Reason string `json:"reason"`
}

// maxListed bounds the lines of one kind in the text of an explanation.
const maxListed = 12

// String is the explanation as text: the outcome, then the rule, then nodes.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", e.Outcome)
	if e.Rule != "" {
		fmt.Fprintf(&b, "rule: %s\n", e.Rule)
	}
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "considered %d, eligible %d", e.Considered, e.Eligible)
	if e.Ties > 1 {
		fmt.Fprintf(&b, ", %d equally good: the request's seed %016x decided", e.Ties, e.Seed)
	}
	b.WriteByte('\n')
	for i, c := range e.Candidates {
		if i == maxListed {
			fmt.Fprintf(&b, "  … %d more candidates\n", len(e.Candidates)-i)
			break
		}
		mark := ' '
		if label(c.Node, c.Worker) == e.Chosen {
			mark = '→'
		}
		fmt.Fprintf(&b, "%c %s: %s, score %.4g", mark, label(c.Node, c.Worker), c.Tier, c.Score)
		if c.Note != "" {
			fmt.Fprintf(&b, " (%s)", c.Note)
		}
		b.WriteByte('\n')
	}
	for i, r := range e.Refused {
		if i == maxListed {
			fmt.Fprintf(&b, "  … %d more refused\n", len(e.Refused)-i)
			break
		}
		fmt.Fprintf(&b, "✗ %s: %s\n", label(r.Node, r.Worker), r.Reason)
	}
	return b.String()
}

func label(node, worker string) string {
	switch {
	case worker == "":
		return node
	case node == "":
		return worker
	}
	return worker + "@" + node
}

// refuse notes that a node cannot take it.
func (c *call) refuse(node, worker, format string, args ...any) {
	if c.quiet {
		return
	}
	c.e.Refused = append(c.e.Refused, Refusal{node, worker, fmt.Sprintf(format, args...)})
}

// refuseFor notes the reason for which a node was graded down.
func (c *call) refuseFor(why reason, n *cluster.Node) {
	if !c.quiet {
		c.refuse(n.ID, "", "%s", c.p.explain(why, n))
	}
}

func (c *call) note(format string, args ...any) {
	if c.quiet {
		return
	}
	c.e.Notes = append(c.e.Notes, fmt.Sprintf(format, args...))
}

// choose settles the call on a candidate, which it lists first if nobody did.
func (c *call) choose(cand Candidate, tier Tier) {
	c.d.Node, c.d.Worker, c.d.Tier = cand.Node, cand.Worker, tier
	if c.quiet {
		return
	}
	c.e.Chosen = label(cand.Node, cand.Worker)
	if !slices.ContainsFunc(c.e.Candidates, func(x Candidate) bool { return x.Node == cand.Node && x.Worker == cand.Worker }) {
		cand.Tier = tier.String()
		c.e.Candidates = append([]Candidate{cand}, c.e.Candidates...)
	}
}

// outcome is the first line of the explanation.
func (c *call) outcome(err error) string {
	name := c.r.ID
	if c.r.Kind == KindRoom || name == "" {
		name = c.r.Room
	}
	what := fmt.Sprintf("%s %q", c.r.Kind, name)
	if c.r.Kind != KindRoom && c.r.Room != "" && c.r.ID != "" {
		what += fmt.Sprintf(" of room %q", c.r.Room)
	}
	if err != nil {
		return fmt.Sprintf("%s: %v", what, err)
	}
	s := fmt.Sprintf("%s goes to %s", what, c.e.Chosen)
	switch c.d.Tier {
	case TierOverShare:
		s += ", beyond the room's share of it: no further node is better"
	case TierOverLimit:
		s += ", which is over the limit: no node is eligible, and the limits are ignored then"
	case TierUnknown:
		s += ", whose load is unknown: no node has a fresh report, and placement does not fail while a node runs"
	case TierDraining:
		s += ", which drains: " + c.because
	}
	return s
}
