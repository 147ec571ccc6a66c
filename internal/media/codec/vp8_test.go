package codec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestVP8Parse(t *testing.T) {
	for _, tc := range []struct {
		name string
		hex  string
		want VP8
		err  error
	}{
		{"empty", "", VP8{}, ErrTruncated},
		{"minimal, inter frame", "1001", VP8{Start: true, HeaderLen: 1}, nil},
		{"minimal, key frame of a browser", "10502b009d012a4001b400",
			VP8{Start: true, KeyFrame: true, Width: 320, Height: 180, HeaderLen: 1}, nil},
		{"size with scaling bits", "10502b009d012a4041b480",
			VP8{Start: true, KeyFrame: true, Width: 320, Height: 180, HeaderLen: 1}, nil},
		{"key frame cut before its size", "10502b009d", VP8{Start: true, KeyFrame: true, HeaderLen: 1}, nil},
		{"second partition of a key frame", "1150", VP8{Start: true, Partition: 1, HeaderLen: 1}, nil},
		{"continuation", "0050", VP8{HeaderLen: 1}, nil},
		{"non reference", "3001", VP8{Start: true, NonReference: true, HeaderLen: 1}, nil},
		{"7 bit picture id", "90807f01", VP8{Start: true, HasPictureID: true, PictureID: 127, HeaderLen: 3}, nil},
		{"15 bit picture id, all fields", "90f0ffff07e501",
			VP8{Start: true, HasPictureID: true, LongPictureID: true, PictureID: 0x7fff, HasTL0PICIDX: true, TL0PICIDX: 7,
				HasTID: true, TID: 3, LayerSync: true, HasKeyIndex: true, KeyIndex: 5, HeaderLen: 6}, nil},
		{"key index without TID", "9010e501", VP8{Start: true, HasKeyIndex: true, KeyIndex: 5, HeaderLen: 3}, nil},
		{"TID without key index", "9020bf01", VP8{Start: true, HasTID: true, TID: 2, LayerSync: true, HeaderLen: 3}, nil},
		{"no extension byte", "90", VP8{Start: true}, ErrTruncated},
		{"no picture id", "9080", VP8{}, ErrTruncated},
		{"half a picture id", "908080", VP8{}, ErrTruncated},
		{"no TL0PICIDX", "904000", VP8{Start: true, HasTL0PICIDX: true, HeaderLen: 3}, nil},
		{"cut TL0PICIDX", "9040", VP8{}, ErrTruncated},
		{"cut TID", "9020", VP8{}, ErrTruncated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got VP8
			err := got.Parse(unhex(t, tc.hex))
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil {
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

// drawVP8 draws a descriptor as a parser would give it.
func drawVP8(t *rapid.T) VP8 {
	d := VP8{
		NonReference:  rapid.Bool().Draw(t, "N"),
		Start:         rapid.Bool().Draw(t, "S"),
		Partition:     rapid.Uint8Range(0, 7).Draw(t, "PID"),
		HasPictureID:  rapid.Bool().Draw(t, "I"),
		HasTL0PICIDX:  rapid.Bool().Draw(t, "L"),
		HasTID:        rapid.Bool().Draw(t, "T"),
		HasKeyIndex:   rapid.Bool().Draw(t, "K"),
		LongPictureID: rapid.Bool().Draw(t, "M"),
	}
	d.LongPictureID = d.LongPictureID && d.HasPictureID
	if d.HasPictureID {
		d.PictureID = rapid.Uint16Range(0, 0x7f).Draw(t, "id")
		if d.LongPictureID {
			d.PictureID = rapid.Uint16Range(0, 0x7fff).Draw(t, "id")
		}
	}
	if d.HasTL0PICIDX {
		d.TL0PICIDX = rapid.Uint8().Draw(t, "tl0")
	}
	if d.HasTID {
		d.TID = rapid.Uint8Range(0, 3).Draw(t, "tid")
		d.LayerSync = rapid.Bool().Draw(t, "Y")
	}
	if d.HasKeyIndex {
		d.KeyIndex = rapid.Uint8Range(0, 31).Draw(t, "key")
	}
	return d
}

func TestVP8MarshalRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawVP8(t)
		var buf [MaxVP8Header]byte
		n, err := want.Marshal(buf[:])
		if err != nil {
			t.Fatal(err)
		}
		want.HeaderLen = n
		var got VP8
		if err := got.Parse(buf[:n]); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		if _, err := want.Marshal(buf[:n-1]); !errors.Is(err, ErrShortBuffer) {
			t.Fatalf("short buffer: %v", err)
		}
	})
}

func FuzzVP8(f *testing.F) {
	for _, p := range loadCapture(f, "vp8.hex") {
		f.Add(p.payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var d VP8
		if d.Parse(payload) != nil {
			return
		}
		if d.HeaderLen < 1 || d.HeaderLen > len(payload) || d.HeaderLen > MaxVP8Header {
			t.Fatalf("header of %d bytes in a payload of %d", d.HeaderLen, len(payload))
		}
		if d.KeyFrame && d.HeaderLen == len(payload) {
			t.Fatal("key frame without data")
		}
		var buf [MaxVP8Header]byte
		n, err := d.Marshal(buf[:])
		if err != nil {
			t.Fatal(err)
		}
		var again VP8
		if err := again.Parse(append(buf[:n:n], payload[d.HeaderLen:]...)); err != nil {
			t.Fatal(err)
		}
		again.HeaderLen, d.HeaderLen = 0, 0
		if d != again {
			t.Fatalf("%+v became %+v", d, again)
		}
	})
}
