// Command crowd brings many participants into one room at an even pace and
// watches whether all of them receive all media.
//
// It prints one line of JSON when everybody has all media, or the deadline has
// passed; holds the room until a line or the end of its standard input; lets all
// leave, and prints a second line of JSON. It exits 1 when somebody lacked media.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/concertina-rtc/concertina/test/interop/client"
)

type config struct {
	server       client.Server
	room         string
	participants int
	speakers     int
	cameras      int
	within       time.Duration
	deadline     time.Duration
	single       bool
}

// report is the first line of output. Times are milliseconds.
type report struct {
	Participants int      `json:"participants"`
	Joined       int      `json:"joined"`
	JoinedMs     int64    `json:"joinedMs"`   // from the first join call to the last join done
	JoinP50Ms    int64    `json:"joinP50Ms"`  // one join call
	JoinP95Ms    int64    `json:"joinP95Ms"`  //
	AllMediaMs   int64    `json:"allMediaMs"` // from the first join call until everybody received everything
	Expected     int      `json:"expected"`   // streams that must be received, over all participants
	Flowing      int      `json:"flowing"`    // streams that still were within the last second
	PacketRate   float64  `json:"packetRate"` // RTP packets received a second, over all
	Lost         int      `json:"lost"`       // sequence numbers that never came, over all
	Strange      int      `json:"strange"`    // frames that nobody sent, over all
	Errors       []string `json:"errors,omitempty"`
}

func main() {
	var c config
	flag.StringVar(&c.server.URL, "url", "ws://127.0.0.1:7880", "server")
	flag.StringVar(&c.server.Key, "key", "devkey", "API key")
	flag.StringVar(&c.server.Secret, "secret", "secret", "API secret")
	flag.StringVar(&c.room, "room", "crowd", "room")
	flag.IntVar(&c.participants, "participants", 100, "how many join")
	flag.IntVar(&c.speakers, "speakers", 2, "how many of them publish audio")
	flag.IntVar(&c.cameras, "cameras", 1, "how many of them publish video")
	flag.DurationVar(&c.within, "within", 8*time.Second, "time over which they begin to join")
	flag.DurationVar(&c.deadline, "deadline", 40*time.Second, "time after which missing media is an error")
	flag.BoolVar(&c.single, "single", true, "one peer connection each, or two")
	flag.Parse()
	log.SetFlags(0)
	client.Quiet()
	if err := run(c); err != nil {
		log.Fatal("crowd: ", err)
	}
}

func run(c config) error {
	library, err := client.LoadLibrary()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.deadline)
	defer cancel()
	start := time.Now()
	crowd, r := gather(ctx, c, library)
	r.JoinedMs = time.Since(start).Milliseconds()
	defer leave(crowd)

	for ctx.Err() == nil && flowing(c, crowd) < r.Expected {
		time.Sleep(50 * time.Millisecond)
	}
	r.AllMediaMs = time.Since(start).Milliseconds()
	before, at := total(c, crowd), time.Now()
	time.Sleep(3 * time.Second)
	after := total(c, crowd)
	r.PacketRate = float64(after.Packets-before.Packets) / time.Since(at).Seconds()
	r.Lost, r.Strange, r.Flowing = after.Lost, after.Strange, flowing(c, crowd)
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil && r.Joined == 0 {
		return errors.New("nobody joined")
	}
	leave(crowd)
	fmt.Println(`{"left":true}`)
	if r.Joined < c.participants || r.Flowing < r.Expected {
		return fmt.Errorf("%d of %d joined, %d of %d streams flow", r.Joined, c.participants, r.Flowing, r.Expected)
	}
	return nil
}

// gather lets all join, spread evenly over the time given, and publish.
func gather(ctx context.Context, c config, library *client.Library) ([]*client.Client, report) {
	r := report{Participants: c.participants}
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		times []time.Duration
		crowd []*client.Client
	)
	for i := range c.participants {
		wg.Go(func() {
			time.Sleep(c.within * time.Duration(i) / time.Duration(c.participants))
			begin := time.Now()
			one, err := client.Join(ctx, c.server, library, c.room, identity(i), client.Options{Single: c.single})
			took := time.Since(begin)
			if err == nil {
				err = publish(c, one, i)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				r.Errors = append(r.Errors, err.Error())
				return
			}
			crowd = append(crowd, one)
			times = append(times, took)
		})
	}
	wg.Wait()
	slices.Sort(times)
	r.Joined = len(crowd)
	if n := len(times); n > 0 {
		r.JoinP50Ms, r.JoinP95Ms = times[n/2].Milliseconds(), times[n*95/100].Milliseconds()
	}
	// Everybody receives every stream but his own.
	r.Expected = (c.speakers + c.cameras) * (c.participants - 1)
	return crowd, r
}

func identity(i int) string { return fmt.Sprintf("p%03d", i) }

func publish(c config, one *client.Client, i int) error {
	if i < c.speakers {
		if _, err := one.PublishAudio(); err != nil {
			return err
		}
	}
	if i < c.cameras {
		if _, err := one.PublishVideo(client.Low); err != nil {
			return err
		}
	}
	return nil
}

// each calls do with every stream that somebody should receive.
func each(c config, crowd []*client.Client, do func(client.Received)) {
	for _, one := range crowd {
		for i := range max(c.speakers, c.cameras) {
			if identity(i) == one.Identity {
				continue
			}
			if i < c.speakers {
				do(one.Received(identity(i), webrtc.RTPCodecTypeAudio))
			}
			if i < c.cameras {
				do(one.Received(identity(i), webrtc.RTPCodecTypeVideo))
			}
		}
	}
}

// flowing counts the streams of which a whole frame came within the last second.
func flowing(c config, crowd []*client.Client) int {
	n := 0
	each(c, crowd, func(got client.Received) {
		if time.Since(got.Last) < time.Second {
			n++
		}
	})
	return n
}

func total(c config, crowd []*client.Client) client.Received {
	var sum client.Received
	each(c, crowd, func(got client.Received) {
		sum.Packets += got.Packets
		sum.Lost += got.Lost
		sum.Strange += got.Strange
	})
	return sum
}

func leave(crowd []*client.Client) {
	var wg sync.WaitGroup
	for _, one := range crowd {
		wg.Go(one.Leave)
	}
	wg.Wait()
}
