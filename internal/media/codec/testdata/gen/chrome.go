package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// descriptorURI names the header extension of the dependency descriptor.
const descriptorURI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

// page sends one track, as told by its query, and posts its offer.
const page = `<script>
(async () => {
  const q = new URLSearchParams(location.search), video = q.get('codec').startsWith('video');
  const media = await navigator.mediaDevices.getUserMedia(video ? {video: {width: +q.get('width'), height: q.get('width') * 9 / 16}} : {audio: true});
  const pc = new RTCPeerConnection();
  const enc = q.get('mode') ? [{scalabilityMode: q.get('mode'), maxBitrate: 2500000}] : [{}];
  const t = pc.addTransceiver(media.getTracks()[0], {direction: 'sendonly', sendEncodings: enc});
  const caps = RTCRtpSender.getCapabilities(video ? 'video' : 'audio').codecs;
  const want = caps.filter(c => c.mimeType.toLowerCase() == q.get('codec').toLowerCase());
  const opus = video ? [] : caps.filter(c => c.mimeType == 'audio/opus' && q.get('codec') != 'audio/opus');
  t.setCodecPreferences([...want, ...opus]);
  await pc.setLocalDescription();
  const r = await fetch('/offer', {method: 'POST', body: JSON.stringify(pc.localDescription)});
  const answer = await r.json();
  answer.sdp = answer.sdp.replace(/(a=rtpmap:(\d+) (?:VP9|AV1)\/90000)/g, '$1\r\na=fmtp:$2 x-google-start-bitrate=2500');
  await pc.setRemoteDescription(answer);
})().catch(e => fetch('/error', {method: 'POST', body: String(e)}));
</script>`

type chromeCapture struct {
	name, codec, mode string
	width, packets    int
}

var chromeCaptures = []chromeCapture{
	{"chrome_vp8_L1T3", "video/VP8", "L1T3", 320, 150},
	{"chrome_vp9_L3T3_KEY", "video/VP9", "L3T3_KEY", 1280, 150},
	{"chrome_av1_L3T3_KEY", "video/AV1", "L3T3_KEY", 1280, 150},
	{"chrome_av1_L1T2", "video/AV1", "L1T2", 320, 250},
	{"chrome_h264", "video/H264", "", 320, 100},
	{"chrome_red", "audio/red", "", 0, 30},
}

// captureChrome lets a headless Chromium send one track to a pion peer and
// writes the first packets: "dd-hex payload-hex marker sequence timestamp" a line, "-" for no
// descriptor. Padding packets have an empty payload. Video payloads are cut.
func captureChrome(c chromeCapture) error {
	var engine webrtc.MediaEngine
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return err
	}
	red := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111",
	}, PayloadType: 63}
	if err := engine.RegisterCodec(red, webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	ext := webrtc.RTPHeaderExtensionCapability{URI: descriptorURI}
	if err := engine.RegisterHeaderExtension(ext, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(&engine), webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	defer pc.Close()
	lines := make(chan string, c.packets)
	failed := make(chan error, 1)
	var once sync.Once
	pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		id := 0
		for _, h := range r.GetParameters().HeaderExtensions {
			if h.URI == descriptorURI {
				id = h.ID
			}
		}
		for range c.packets {
			p, _, err := t.ReadRTP()
			if err != nil {
				once.Do(func() { failed <- err })
				return
			}
			dd := "-"
			if b := p.GetExtension(uint8(id)); id != 0 && b != nil {
				dd = hex.EncodeToString(b)
			}
			lines <- fmt.Sprintf("%s %s %t %d %d", dd, hex.EncodeToString(keep(c, p.Payload)), p.Marker, p.SequenceNumber, p.Timestamp)
		}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	})
	mux.HandleFunc("/error", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		failed <- fmt.Errorf("page: %s", b)
	})
	mux.HandleFunc("/offer", func(w http.ResponseWriter, r *http.Request) {
		if err := answer(pc, w, r); err != nil {
			failed <- err
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	profile, err := os.MkdirTemp("", "gen")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir="+profile,
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
		fmt.Sprintf("http://%s/?codec=%s&mode=%s&width=%d", l.Addr(), c.codec, c.mode, c.width))
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	f, err := os.Create("testdata/" + c.name + ".txt")
	if err != nil {
		return err
	}
	defer f.Close()
	for range c.packets {
		select {
		case line := <-lines:
			fmt.Fprintln(f, line)
		case err := <-failed:
			return err
		case <-time.After(40 * time.Second):
			return fmt.Errorf("no packets")
		}
	}
	return nil
}

func answer(pc *webrtc.PeerConnection, w io.Writer, r *http.Request) error {
	var offer webrtc.SessionDescription
	if err := json.NewDecoder(r.Body).Decode(&offer); err != nil {
		return err
	}
	if err := pc.SetRemoteDescription(offer); err != nil {
		return err
	}
	a, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(a); err != nil {
		return err
	}
	<-gathered
	return json.NewEncoder(w).Encode(pc.LocalDescription())
}

// keep cuts video payloads, whose headers alone matter here.
func keep(c chromeCapture, b []byte) []byte {
	if c.codec == "audio/red" {
		return b
	}
	return b[:min(len(b), 64)]
}
