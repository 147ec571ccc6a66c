// Command gen makes the RTP captures in the directory above with ffmpeg and
// with Chromium, which must be installed. The *.hex files have one RTP packet
// per line, hexadecimal; the *.txt files are described at captureChrome. Run it
// in internal/media/codec as: go run ./testdata/gen [name]
package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"time"
)

const input = "testsrc=size=160x120:rate=15:duration=1"

var captures = map[string][]string{
	"vp8":  {"-c:v", "libvpx", "-g", "8", "-b:v", "60k", "-deadline", "realtime"},
	"h264": {"-c:v", "libx264", "-g", "8", "-b:v", "60k", "-profile:v", "baseline", "-tune", "zerolatency", "-bsf:v", "dump_extra"},
	"h265": {"-c:v", "libx265", "-g", "8", "-b:v", "60k", "-x265-params", "keyint=8:log-level=none", "-tune", "zerolatency"},
}

func main() {
	only := ""
	if len(os.Args) > 1 {
		only = os.Args[1]
	}
	for _, c := range chromeCaptures {
		if only != "" && only != c.name {
			continue
		}
		if err := captureChrome(c); err != nil {
			log.Printf("%s: %v", c.name, err)
		}
	}
	for name, args := range captures {
		if only != "" && only != name {
			continue
		}
		if err := capture(name, args); err != nil {
			log.Fatalf("%s: %v", name, err)
		}
	}
}

func capture(name string, args []string) error {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer conn.Close()
	full := append([]string{"-loglevel", "error", "-re", "-f", "lavfi", "-i", input, "-pix_fmt", "yuv420p"}, args...)
	full = append(full, "-f", "rtp", fmt.Sprintf("rtp://%s?pkt_size=300", conn.LocalAddr()))
	cmd := exec.Command("ffmpeg", full...)
	cmd.Stderr = os.Stderr
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	var out bytes.Buffer
	buf := make([]byte, 2048)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, _, err := conn.ReadFromUDP(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && out.Len() > 0 {
			break
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(&out, hex.EncodeToString(buf[:n]))
	}
	if err := <-done; err != nil {
		return err
	}
	return os.WriteFile("testdata/"+name+".hex", out.Bytes(), 0o644)
}
