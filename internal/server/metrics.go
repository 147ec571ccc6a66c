package server

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/concertina-rtc/concertina/internal/room"
	"github.com/concertina-rtc/concertina/internal/signal"
)

// metrics reads the counters of the node's parts when Prometheus asks, so that
// nothing on the packet path knows about metrics. Names are the package path.
type metrics struct {
	media  *mediaHosts
	rooms  *room.Manager
	signal *signal.Server
}

// registerMetrics adds the node's, the process's and Go's metrics.
func registerMetrics(reg *prometheus.Registry, m *metrics) {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m)
}

// sample is one value to export.
type sample struct {
	name, help string
	kind       prometheus.ValueType
	value      float64
}

// Describe implements prometheus.Collector. Sending nothing makes the
// collector unchecked, which fits values that are read as a whole.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for _, group := range [][]sample{m.roomSamples(), m.signalSamples(), m.transportSamples()} {
		for _, s := range group {
			desc := prometheus.NewDesc("concertina_"+s.name, s.help, nil, nil)
			out <- prometheus.MustNewConstMetric(desc, s.kind, s.value)
		}
	}
}

func counter(name, help string, v int64) sample {
	return sample{name, help, prometheus.CounterValue, float64(v)}
}

func gauge(name, help string, v int64) sample {
	return sample{name, help, prometheus.GaugeValue, float64(v)}
}

func (m *metrics) roomSamples() []sample {
	t := m.rooms.Totals()
	return []sample{
		gauge("room_rooms", "Rooms with a record on this node.", t.RoomsStarted.Load()-t.RoomsFinished.Load()),
		gauge("room_participants", "Participants connected to this node.", t.ParticipantsJoined.Load()-t.ParticipantsLeft.Load()),
		counter("room_rooms_started_total", "Rooms started.", t.RoomsStarted.Load()),
		counter("room_participants_joined_total", "Participants that joined.", t.ParticipantsJoined.Load()),
		counter("room_participants_aborted_total", "Participants that left before media flowed.", t.ParticipantsAborted.Load()),
		counter("room_resumes_total", "Signal connections resumed.", t.Resumes.Load()),
		counter("room_full_reconnects_total", "Joins that replaced a participant of the same identity.", t.FullReconnects.Load()),
		counter("room_moves_total", "Participants handed over to another media host.", t.Moves.Load()),
		counter("room_tracks_published_total", "Tracks published.", t.TracksPublished.Load()),
		counter("room_data_packets_total", "Data packets received from clients.", t.DataPackets.Load()),
		counter("room_data_bytes_total", "Bytes of data packets received from clients.", t.DataBytes.Load()),
		counter("room_data_dropped_total", "Data packets refused or not delivered.", t.DataDropped.Load()),
		counter("room_bad_messages_total", "Messages of clients that made no sense.", t.BadMessages.Load()),
		counter("room_slow_clients_total", "Signal connections given up because the client did not read.", t.SlowClients.Load()),
	}
}

func (m *metrics) signalSamples() []sample {
	t := m.signal.Stats()
	return []sample{
		gauge("signal_connections", "Open signal connections.", t.Connections.Load()),
		counter("signal_accepted_total", "Signal connections accepted.", t.Accepted.Load()),
		counter("signal_refused_total", "Joins refused before the upgrade.", t.Refused.Load()),
		counter("signal_rate_limited_total", "Joins refused because their address joined too often.", t.RateLimited.Load()),
		counter("signal_bad_frames_total", "Frames that were not a SignalRequest or too large.", t.BadFrames.Load()),
		counter("signal_frames_in_total", "Frames received.", t.FramesIn.Load()),
		counter("signal_frames_out_total", "Frames sent.", t.FramesOut.Load()),
	}
}

func (m *metrics) transportSamples() []sample {
	t := m.media.Stats()
	return []sample{
		gauge("media_transport_connections", "Media connections.", int64(t.Connections)),
		gauge("media_transport_tcp_pending", "TCP connections without a valid check yet.", int64(t.TCPPending)),
		counter("media_transport_packets_received_total", "Datagrams and frames received, whatever became of them.", int64(t.PacketsReceived)),
		counter("media_transport_malformed_total", "Packets that are no STUN, DTLS, RTP or RTCP.", int64(t.Malformed)),
		counter("media_transport_unknown_address_total", "Packets from addresses without a valid check.", int64(t.UnknownAddress)),
		counter("media_transport_unknown_ufrag_total", "Checks for no connection of this node.", int64(t.UnknownUfrag)),
		counter("media_transport_bad_integrity_total", "Checks with a wrong password or fingerprint.", int64(t.BadIntegrity)),
		counter("media_transport_tcp_refused_total", "TCP connections closed for sending no valid check.", int64(t.TCPRefused)),
		counter("media_transport_tcp_overflow_total", "Packets dropped because a TCP client is too slow.", int64(t.TCPOverflow)),
		counter("media_transport_packets_in_total", "SRTP and SRTCP packets received.", int64(t.Traffic.PacketsIn)),
		counter("media_transport_bytes_in_total", "Bytes of SRTP and SRTCP packets received.", int64(t.Traffic.BytesIn)),
		counter("media_transport_packets_out_total", "SRTP and SRTCP packets sent.", int64(t.Traffic.PacketsOut)),
		counter("media_transport_bytes_out_total", "Bytes of SRTP and SRTCP packets sent.", int64(t.Traffic.BytesOut)),
	}
}
