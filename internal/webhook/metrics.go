package webhook

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are labelled with the position of the URL in the configuration and
// its harmless part.
type metrics struct {
	deliveredTotal *prometheus.CounterVec
	droppedTotal   *prometheus.CounterVec
	failedTotal    *prometheus.CounterVec
	queued         *prometheus.GaugeVec
	age            *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	labels := []string{"index", "url"}
	return &metrics{
		deliveredTotal: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concertina_webhook_delivered_total", Help: "Events accepted by the server behind the URL.",
		}, labels),
		droppedTotal: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concertina_webhook_dropped_total", Help: "Events given up: overflow, expired, rejected (4xx) or closed.",
		}, append(labels, "reason")),
		failedTotal: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concertina_webhook_failed_total", Help: "Requests that failed, whether tried again or not.",
		}, labels),
		queued: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "concertina_webhook_queued", Help: "Events waiting or under way.",
		}, labels),
		age: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "concertina_webhook_delivery_seconds", Help: "From event to acceptance.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 9),
		}, labels),
	}
}

// urlMetrics are the metrics of one URL.
type urlMetrics struct {
	m      *metrics
	labels []string
}

func (m *metrics) forURL(index int, label string) urlMetrics {
	return urlMetrics{m, []string{strconv.Itoa(index), label}}
}

func (u urlMetrics) delivered(age time.Duration) {
	u.m.deliveredTotal.WithLabelValues(u.labels...).Inc()
	u.m.age.WithLabelValues(u.labels...).Observe(age.Seconds())
}

func (u urlMetrics) dropped(reason string) {
	u.m.droppedTotal.WithLabelValues(u.labels[0], u.labels[1], reason).Inc()
}

func (u urlMetrics) failed()     { u.m.failedTotal.WithLabelValues(u.labels...).Inc() }
func (u urlMetrics) queue(n int) { u.m.queued.WithLabelValues(u.labels...).Set(float64(n)) }
