package client

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync/atomic"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// The recordings: two seconds each of a test picture in three sizes with a key
// frame every second, and of a 440 Hz tone. See testdata/make.sh.
//
//go:embed testdata/*.ivf testdata/*.ogg
var testdata embed.FS

// Layer names a recording of the picture.
type Layer string

// The recordings of the picture, by the simulcast layer that they are published as.
const (
	Low    Layer = "low"    // 160x90
	Medium Layer = "medium" // 320x180
	High   Layer = "high"   // 640x360
)

// Size is the picture's width and height in pixels.
func (l Layer) Size() (width, height int) {
	switch l {
	case Low:
		return 160, 90
	case Medium:
		return 320, 180
	default:
		return 640, 360
	}
}

// tone is the recording of the sound.
const tone Layer = "tone"

// Library holds the recordings and recognises their frames.
type Library struct {
	frames map[Layer][][]byte
	seed   maphash.Seed
	known  map[uint64]Layer
}

// LoadLibrary reads the recordings.
func LoadLibrary() (*Library, error) {
	l := &Library{frames: map[Layer][][]byte{}, seed: maphash.MakeSeed(), known: map[uint64]Layer{}}
	for _, layer := range []Layer{Low, Medium, High, tone} {
		read, name := readIVF, "testdata/"+string(layer)+".ivf"
		if layer == tone {
			read, name = readOgg, "testdata/tone.ogg"
		}
		data, err := testdata.ReadFile(name)
		if err != nil {
			return nil, err
		}
		frames, err := read(data)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		l.frames[layer] = frames
		for _, frame := range frames {
			l.known[maphash.Bytes(l.seed, frame)] = layer
		}
	}
	return l, nil
}

// Recognise answers which recording a received frame is from, byte for byte.
func (l *Library) Recognise(frame []byte) (Layer, bool) {
	layer, ok := l.known[maphash.Bytes(l.seed, frame)]
	return layer, ok
}

// video plays a recording of the picture over and over at 30 frames/s.
func (l *Library) video(layer Layer) *loop {
	return &loop{frames: l.frames[layer], every: time.Second / 30}
}

// audio plays the tone over and over.
func (l *Library) audio() *loop {
	return &loop{frames: l.frames[tone], every: 20 * time.Millisecond}
}

// keyEvery is how many frames there are from key frame to key frame.
const keyEvery = 30

// loop is the SDK's source of samples.
type loop struct {
	lksdk.BaseSampleProvider
	frames [][]byte
	every  time.Duration
	next   int
	key    atomic.Bool // a key frame was asked for
}

// feedback skips to the next key frame when one is asked for.
func (l *loop) feedback(packet rtcp.Packet) {
	switch packet.(type) {
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
		l.key.Store(true)
	}
}

// NextSample implements lksdk.SampleProvider.
func (l *loop) NextSample(context.Context) (media.Sample, error) {
	if l.key.Swap(false) {
		l.next += (keyEvery - l.next%keyEvery) % keyEvery
	}
	frame := l.frames[l.next%len(l.frames)]
	l.next++
	return media.Sample{Data: frame, Duration: l.every}, nil
}

// CurrentAudioLevel implements lksdk.AudioSampleProvider: loud enough for a speaker.
func (l *loop) CurrentAudioLevel() uint8 { return 15 }

func readIVF(data []byte) ([][]byte, error) {
	reader, _, err := ivfreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var frames [][]byte
	for {
		frame, _, err := reader.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
	}
}

// readOgg returns the payload of each page; the recording has one packet a page.
func readOgg(data []byte) ([][]byte, error) {
	reader, _, err := oggreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var frames [][]byte
	for {
		page, _, err := reader.ParseNextPage()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(page, []byte("OpusTags")) {
			continue
		}
		frames = append(frames, page)
	}
}
