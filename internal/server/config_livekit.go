package server

// unsupportedKeys are keys of livekit.yaml that have no counterpart here, each
// with what to do instead. Meeting one is an error, because a key without
// effect would be a promise that is not kept.
func unsupportedKeys() map[string]string {
	const (
		notYet   = "Concertina does not do this yet; remove the key"
		noRedis  = "Concertina needs no Redis; remove the key"
		builtIn  = "Concertina decides this by itself; remove the key"
		obsolete = "the option is obsolete in LiveKit too; remove the key"
	)
	return map[string]string{
		"redis":                        noRedis,
		"psrpc":                        noRedis,
		"signal_relay":                 noRedis,
		"ingress":                      notYet,
		"sip":                          notYet,
		"agents":                       notYet,
		"region":                       notYet,
		"node_selector":                notYet,
		"trace":                        notYet,
		"metric":                       notYet,
		"debug_handler":                notYet,
		"debug_handler_port":           notYet,
		"enable_participant_data_blob": notYet,
		"enable_data_tracks":           "data tracks are always on; remove the key",
		"node_stats":                   builtIn,
		"api":                          builtIn,
		"log_level":                    "use logging.level",
		"prometheus_port":              "use prometheus.port",

		"logging.pion_level":       "the level of ICE and DTLS messages follows logging.level; remove the key",
		"logging.component_levels": notYet,
		"logging.sample":           notYet,

		"rtc.port_range_start":                        "use rtc.udp_port: one port carries all media",
		"rtc.port_range_end":                          "use rtc.udp_port: one port carries all media",
		"rtc.packet_buffer_size":                      "use rtc.packet_buffer_size_video and rtc.packet_buffer_size_audio",
		"rtc.use_ice_lite":                            builtIn,
		"rtc.use_mdns":                                "a server needs no mDNS names; remove the key",
		"rtc.batch_io":                                "packets are always sent in batches; remove the key",
		"rtc.strict_acks":                             obsolete,
		"rtc.data_channel_max_buffered_amount":        obsolete,
		"rtc.congestion_control":                      notYet,
		"rtc.advertise_internal_ip":                   notYet,
		"rtc.external_ip_only":                        notYet,
		"rtc.skip_external_ip_validation":             notYet,
		"rtc.use_stun_port_as_ice":                    notYet,
		"rtc.tcp_fallback_rtt_threshold":              notYet,
		"rtc.allow_udp_unstable_fallback":             notYet,
		"rtc.reconnect_on_publication_error":          builtIn,
		"rtc.reconnect_on_subscription_error":         builtIn,
		"rtc.reconnect_on_data_channel_error":         builtIn,
		"rtc.datachannel_slow_threshold":              builtIn,
		"rtc.datachannel_lossy_target_latency":        builtIn,
		"rtc.datachannel_data_track_target_latency":   builtIn,
		"rtc.forward_stats":                           notYet,
		"rtc.enable_rtp_stream_restart_detection":     builtIn,
		"rtc.enable_warp":                             notYet,
		"room.create_room_timeout":                    builtIn,
		"room.create_room_attempts":                   builtIn,
		"room.update_batch_target_size":               builtIn,
		"room.enable_full_room_in_webhooks":           notYet,
		"room.room_configurations":                    notYet,
		"room.enabled_codecs[].fmtp_line":             builtIn,
		"room.max_metadata_size":                      "use limit.max_metadata_size",
		"room.max_room_name_length":                   "use limit.max_room_name_length",
		"room.max_participant_identity_length":        "use limit.max_participant_identity_length",
		"audio.active_red_encoding":                   notYet,
		"audio.enable_loss_proxying":                  notYet,
		"video.stream_tracker_manager":                builtIn,
		"video.codec_regression_threshold":            notYet,
		"webhook.url_notifier":                        "use webhook.queue_size",
		"webhook.resource_url_notifier":               "use webhook.max_age and webhook.queue_size",
		"limit.max_data_blob_key_length":              notYet,
		"limit.max_data_blobs_size":                   notYet,
		"limit.max_data_track_custom_encoding_length": notYet,
		"limit.agent_signal_message_size_limit":       notYet,
	}
}

// noEffectYet are keys that are read and checked, but that nothing acts on so
// far. Changing one is warned about. The list must shrink to nothing.
func noEffectYet() []string {
	return []string{
		"rtc.packet_buffer_size_video", "rtc.packet_buffer_size_audio",
		"room.playout_delay.enabled", "room.playout_delay.min", "room.playout_delay.max", "room.sync_streams",
		"video.dynacast_pause_delay",
		"limit.num_tracks", "limit.bytes_per_sec",
	}
}
