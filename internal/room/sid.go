package room

import "crypto/rand"

// sidAlphabet has no look-alikes; it is the one LiveKit uses.
const sidAlphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// newSID returns prefix and 12 random characters (70 bits).
func newSID(prefix string) string {
	var raw [12]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	out := append(make([]byte, 0, len(prefix)+len(raw)), prefix...)
	for _, b := range raw {
		out = append(out, sidAlphabet[int(b)%len(sidAlphabet)])
	}
	return string(out)
}
