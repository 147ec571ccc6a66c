#!/bin/sh
# Makes the recordings again. Needs ffmpeg with libvpx and libopus.
set -eu
cd "$(dirname "$0")"
picture() {
	ffmpeg -v error -y -f lavfi -i "testsrc2=size=$2:rate=30:duration=2" -c:v libvpx -deadline realtime -cpu-used 8 \
		-b:v "$3" -g 30 -keyint_min 30 -auto-alt-ref 0 -error-resilient 1 "$1.ivf"
}
picture low 160x90 60k
picture medium 320x180 120k
picture high 640x360 250k
ffmpeg -v error -y -f lavfi -i "sine=frequency=440:duration=2" -ac 1 -c:a libopus -b:a 24k \
	-frame_duration 20 -page_duration 20000 tone.ogg
