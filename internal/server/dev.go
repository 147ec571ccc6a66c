package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/auth"
)

// devRoutes are the shortcuts of `concertina dev`: the pages get tokens and
// keys without a sign-in. They answer on loopback only.
func devRoutes(mux *http.ServeMux, keys *auth.Keys, wsURL string) {
	key, secret := keys.First()
	mux.HandleFunc("GET /api/dev/keys", loopbackOnly(func(w http.ResponseWriter, _ *http.Request) {
		devJSON(w, map[string]string{"key": key, "secret": secret})
	}))
	mux.HandleFunc("GET /api/dev/token", loopbackOnly(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		room, identity := q.Get("room"), q.Get("identity")
		if room == "" || identity == "" {
			http.Error(w, "room and identity are required", http.StatusBadRequest)
			return
		}
		token, err := devToken(keys, room, identity, q.Get("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		devJSON(w, map[string]string{"token": token, "url": wsURL})
	}))
}

func devJSON(w http.ResponseWriter, v map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the client is gone otherwise
}

// loopbackOnly refuses requests from other machines, and from pages of other
// sites: a browser names the site it is on (Sec-Fetch-Site), and a page that had
// its own name resolve to this machine (DNS rebinding) is found by that name.
func loopbackOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		site := r.Header.Get("Sec-Fetch-Site")
		if err != nil || !from.Addr().Unmap().IsLoopback() || site == "cross-site" || !localName(r.Host) {
			http.NotFound(w, r)
			return
		}
		next(w, r)
	}
}

// localName reports whether a Host header names this machine itself: localhost
// or an address, which no other site can claim.
func localName(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

func devToken(keys *auth.Keys, room, identity, name string) (string, error) {
	key, secret := keys.First()
	if name == "" {
		name = identity
	}
	yes := true
	return auth.Sign(key, secret, auth.Claims{
		Identity: identity, Name: name,
		Video: &auth.VideoGrant{RoomJoin: true, Room: room, CanUpdateOwnMetadata: &yes},
	}, 24*time.Hour)
}

// banner tells how to go on from here.
func banner(w io.Writer, keys *auth.Keys, host string, port int, version string) error {
	key, secret := keys.First()
	token, err := devToken(keys, "hello", "you", "")
	if err != nil {
		return err
	}
	at := fmt.Sprintf("%s:%d", host, port)
	_, err = fmt.Fprintf(w, `
  Concertina %s is ready.

  Meeting   http://%s/meet?room=hello
  Console   http://%s/console
  Server    ws://%s
  API key   %s
  Secret    %s
  Token     %s
            (room "hello", identity "you", valid for 24 hours)

  Try next  open the meeting in two tabs, or with any LiveKit SDK:
            await new LivekitClient.Room().connect('ws://%s', '<token>')
            concertina token create --room hello --identity someone

  Ctrl-C stops it.

`, version, at, at, at, key, secret, token, at)
	return err
}
