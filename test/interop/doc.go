// Package interop runs LiveKit's stock Go SDK against a server: joining,
// publishing and receiving known recordings, data, streams, RPC, muting,
// layers and reconnects.
//
// Its tests are all there is to it; package client is the participant, and
// cmd/crowd brings many of them. It is a module of its own, because the SDK and
// the product each bring their generated LiveKit messages and cannot live in one
// binary. See README.md.
package interop
