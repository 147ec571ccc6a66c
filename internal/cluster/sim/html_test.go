package sim

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The page is whole: it loads nothing, its data is JSON, every path is closed
// to numbers, and text from the scenario cannot become markup.
func TestHTML(t *testing.T) {
	sc := liveEvent(t, 1000)
	sc.Name = `<script>alert(1)</script> & "friends"`
	reports, err := Compare(sc, []string{"default", "plain"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := HTML(reports)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"http://", "https://", "src=", "<link", "@import", "NaN", "Inf", "<script>alert", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, good := range []string{
		"prefers-color-scheme: dark", "max load 60 %", "min load 25 %", "max 60", "min 4", "Policy default", "Policy plain",
		"node-hours", "&lt;script&gt;", `class="avg"`, `class="total"`, `class="running"`, `class="launching"`, `class="waiting"`,
	} {
		if !strings.Contains(page, good) {
			t.Errorf("the page lacks %q", good)
		}
	}
	data := regexp.MustCompile(`(?s)<script type="application/json">(.*?)</script>`).FindAllStringSubmatch(page, -1)
	if len(data) != 2 {
		t.Fatalf("%d data blocks, want 2", len(data))
	}
	for _, d := range data {
		var points [][]any
		if err := json.Unmarshal([]byte(d[1]), &points); err != nil || len(points) < 100 || len(points) > chartPoints || len(points[0]) != 10 {
			t.Errorf("data: %v, %d points", err, len(points))
		}
	}
	for _, d := range regexp.MustCompile(` d="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !regexp.MustCompile(`^M[0-9. ]+([HVL][0-9. ]+)*Z?$`).MatchString(d[1]) {
			t.Fatalf("path %.80s", d[1])
		}
	}
}

// Reports without rows, or of one moment, draw nothing and do not fail.
func TestEmptyReports(t *testing.T) {
	for _, r := range []Report{{}, {Name: "x", Duration: time.Second, Rows: []Row{{}}}} {
		if _, err := HTML([]Report{r}); err != nil {
			t.Error(err)
		}
		if r.Text(TextOptions{}) == "" {
			t.Error("no text")
		}
	}
	if _, err := HTML(nil); err != nil {
		t.Error(err)
	}
}

// thin keeps the first and the last row and every peak.
func TestThin(t *testing.T) {
	rows := make([]Row, 1000)
	for i := range rows {
		rows[i] = Row{At: time.Duration(i), TotalLoad: float64(i % 97)}
	}
	rows[555].TotalLoad = 1e6
	got := thin(rows, 20)
	if len(got) != 20 || got[0].At != 0 || got[19].At != 999 {
		t.Fatalf("%d rows from %v to %v", len(got), got[0].At, got[len(got)-1].At)
	}
	peak := false
	for i := 1; i < len(got); i++ {
		peak = peak || got[i].TotalLoad == 1e6
		if got[i].At <= got[i-1].At {
			t.Errorf("row %v after %v", got[i].At, got[i-1].At)
		}
	}
	if !peak {
		t.Error("the peak is lost")
	}
	if n := len(thin(rows[:5], 20)); n != 5 {
		t.Errorf("%d rows of 5", n)
	}
}

func TestWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		168 * time.Hour: "7 days", 24 * time.Hour: "24 h", 90 * time.Minute: "90 min", 90 * time.Second: "1m30s", 0: "0s",
	} {
		if got := words(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 18.295: "18.3", 36.59: "36.59", 7.9466: "7.95", 100: "100"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
