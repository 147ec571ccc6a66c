package sdp

import (
	"fmt"
	"slices"
	"strings"

	psdp "github.com/pion/sdp/v3"
)

// Parse reads an offer or an answer and checks that it describes one bundled
// DTLS transport the server can serve. Candidates are ignored: the server is an
// ICE-lite agent and learns addresses from connectivity checks.
//
// Errors wrap [ErrLimit], [ErrSyntax] or [ErrInvalid] and name the section and
// the value at fault.
func Parse(text string) (*Session, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, len(text), MaxSize)
	}
	var raw psdp.SessionDescription
	if err := raw.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if n := len(raw.MediaDescriptions); n == 0 {
		return nil, fmt.Errorf("%w: no media section", ErrInvalid)
	} else if n > MaxSections {
		return nil, fmt.Errorf("%w: %d media sections, at most %d", ErrLimit, n, MaxSections)
	}
	s := &Session{
		SessionID: raw.Origin.SessionID,
		Version:   raw.Origin.SessionVersion,
		Sections:  make([]Section, len(raw.MediaDescriptions)),
	}
	var session transport
	grouped, err := s.parseSessionAttributes(raw.Attributes, &session)
	if err != nil {
		return nil, err
	}
	transports := make([]transport, len(s.Sections))
	for i, m := range raw.MediaDescriptions {
		if err := s.Sections[i].parse(m, &transports[i]); err != nil {
			return nil, fmt.Errorf("section %d (mid %q): %w", i, s.Sections[i].Mid, err)
		}
	}
	if err := s.check(grouped); err != nil {
		return nil, err
	}
	return s, s.adoptTransport(session, transports)
}

// transport collects the attributes that describe a transport; they may stand
// at either level (RFC 8839 section 5.4, RFC 8122 section 5).
type transport struct {
	ice          ICE
	fingerprints []Fingerprint
	setup        Setup
}

// take reads one attribute if it describes the transport.
func (t *transport) take(a psdp.Attribute) error {
	switch a.Key {
	case "ice-ufrag":
		t.ice.Ufrag = a.Value
	case "ice-pwd":
		t.ice.Pwd = a.Value
	case "fingerprint":
		fp, err := parseFingerprint(a.Value)
		if err != nil {
			return err
		}
		if len(t.fingerprints) < 8 {
			t.fingerprints = append(t.fingerprints, fp)
		}
	case "setup":
		switch a.Value {
		case "active":
			t.setup = SetupActive
		case "passive":
			t.setup = SetupPassive
		case "actpass":
			t.setup = SetupActPass
		case "holdconn":
			t.setup = SetupNone
		default:
			return fmt.Errorf("%w: a=setup:%.32q", ErrInvalid, a.Value)
		}
	}
	return nil
}

// parseSessionAttributes reads the session level. It returns the raw BUNDLE
// membership as a set.
func (s *Session) parseSessionAttributes(attrs []psdp.Attribute, t *transport) (map[string]bool, error) {
	grouped := make(map[string]bool)
	bundles := 0
	for _, a := range attrs {
		if err := t.take(a); err != nil {
			return nil, err
		}
		switch a.Key {
		case "ice-lite":
			s.Lite = true
		case "extmap-allow-mixed":
			s.ExtmapAllowMixed = true
		case "group":
			fields := strings.Fields(a.Value)
			if len(fields) == 0 || !strings.EqualFold(fields[0], "BUNDLE") {
				continue
			}
			if bundles++; bundles > 1 {
				return nil, fmt.Errorf("%w: more than one BUNDLE group", ErrInvalid)
			}
			if len(fields) > MaxSections+1 {
				return nil, fmt.Errorf("%w: %d mids in the BUNDLE group", ErrLimit, len(fields)-1)
			}
			for _, mid := range fields[1:] {
				if grouped[mid] {
					return nil, fmt.Errorf("%w: mid %.32q twice in the BUNDLE group", ErrInvalid, mid)
				}
				grouped[mid] = true
				s.Bundle = append(s.Bundle, mid)
			}
		}
	}
	return grouped, nil
}

// check holds the rules between sections: mids are unique, everything alive is
// bundled, and no source belongs to two sections.
func (s *Session) check(grouped map[string]bool) error {
	mids := make(map[string]bool, len(s.Sections))
	owner := make(map[uint32]string)
	for i := range s.Sections {
		sec := &s.Sections[i]
		if sec.Mid == "" {
			if !sec.Rejected {
				return fmt.Errorf("%w: section %d has no mid", ErrInvalid, i)
			}
			continue
		}
		if mids[sec.Mid] {
			return fmt.Errorf("%w: mid %q stands in two sections", ErrInvalid, sec.Mid)
		}
		mids[sec.Mid] = true
		if sec.Rejected {
			continue
		}
		if !grouped[sec.Mid] {
			return fmt.Errorf("%w: mid %q is not in the BUNDLE group", ErrInvalid, sec.Mid)
		}
		if err := sec.claimSSRCs(owner); err != nil {
			return err
		}
	}
	for _, mid := range s.Bundle {
		if !mids[mid] {
			return fmt.Errorf("%w: the BUNDLE group names mid %.32q, which no section has", ErrInvalid, mid)
		}
	}
	return nil
}

// claimSSRCs records the sources of a sending section and refuses one that
// another section has claimed.
func (s *Section) claimSSRCs(owner map[uint32]string) error {
	if !s.Direction.Send() {
		return nil
	}
	for _, src := range s.SSRCs {
		for _, id := range []uint32{src.ID, src.RTX} {
			if id == 0 {
				continue
			}
			if other, taken := owner[id]; taken {
				return fmt.Errorf("%w: SSRC %d is declared by mid %q and mid %q", ErrInvalid, id, other, s.Mid)
			}
			owner[id] = s.Mid
		}
	}
	return nil
}

// adoptTransport takes the transport from the first living section of the
// bundle, with the session level filling what it leaves out (RFC 8843 section 7.2).
func (s *Session) adoptTransport(session transport, sections []transport) error {
	alive := slices.IndexFunc(s.Sections, func(sec Section) bool { return !sec.Rejected })
	if alive < 0 {
		return nil
	}
	// The tagged section is the first of the group, not of the description.
	for _, mid := range s.Bundle {
		i := slices.IndexFunc(s.Sections, func(sec Section) bool { return sec.Mid == mid })
		if i >= 0 && !s.Sections[i].Rejected && sections[i].ice.Ufrag != "" {
			alive = i
			break
		}
	}
	mid, t := s.Sections[alive].Mid, sections[alive]
	if t.ice.Ufrag == "" && t.ice.Pwd == "" {
		t.ice = session.ice
	}
	if len(t.fingerprints) == 0 {
		t.fingerprints = session.fingerprints
	}
	if t.setup == SetupNone {
		t.setup = session.setup
	}
	if err := t.ice.check(); err != nil {
		return fmt.Errorf("mid %q: %w", mid, err)
	}
	if len(t.fingerprints) == 0 {
		return fmt.Errorf("%w: mid %q has no a=fingerprint", ErrInvalid, mid)
	}
	s.ICE, s.Fingerprints, s.Setup = t.ice, t.fingerprints, t.setup
	return nil
}

// check holds the lengths and characters of RFC 8839 section 5.4.
func (i ICE) check() error {
	if n := len(i.Ufrag); n < 4 || n > 256 || !isICEChars(i.Ufrag) {
		return fmt.Errorf("%w: ice-ufrag %.32q (4 to 256 ice characters)", ErrInvalid, i.Ufrag)
	}
	if n := len(i.Pwd); n < 22 || n > 256 || !isICEChars(i.Pwd) {
		// The value is a secret of the session: only its length is told.
		return fmt.Errorf("%w: ice-pwd of %d characters (22 to 256 ice characters)", ErrInvalid, n)
	}
	return nil
}

func isICEChars(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphaNum(c) && c != '+' && c != '/' {
			// Browsers keep to the grammar; "-" and "_" appear in agents that
			// use URL-safe base64 and are harmless.
			if c != '-' && c != '_' && c != '=' {
				return false
			}
		}
	}
	return true
}

func isAlphaNum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// hashSizes is the digest length in bytes of each accepted hash function.
func hashSize(name string) int {
	switch name {
	case "sha-1":
		return 20
	case "sha-224":
		return 28
	case "sha-256":
		return 32
	case "sha-384":
		return 48
	case "sha-512":
		return 64
	}
	return 0
}

func parseFingerprint(v string) (Fingerprint, error) {
	name, value, ok := strings.Cut(v, " ")
	fp := Fingerprint{Hash: strings.ToLower(name), Value: strings.ToUpper(strings.TrimSpace(value))}
	size := hashSize(fp.Hash)
	if !ok || size == 0 {
		return fp, fmt.Errorf("%w: a=fingerprint with hash %.32q", ErrInvalid, name)
	}
	if len(fp.Value) != size*3-1 {
		return fp, fmt.Errorf("%w: a=fingerprint:%s is %d characters, want %d", ErrInvalid, fp.Hash, len(fp.Value), size*3-1)
	}
	for i := range len(fp.Value) {
		c := fp.Value[i]
		hex := c >= '0' && c <= '9' || c >= 'A' && c <= 'F'
		if (i%3 == 2) != (c == ':') || (i%3 != 2) != hex {
			return fp, fmt.Errorf("%w: a=fingerprint:%s %.100q", ErrInvalid, fp.Hash, fp.Value)
		}
	}
	return fp, nil
}
