package bus

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

func TestSecretIsNeverShown(t *testing.T) {
	cfg := nodeConfig("n1", "m:4222")
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", cfg, "secret", cfg.JoinSecret)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "config", cfg, "secret", cfg.JoinSecret)
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%s %v %+v %#v %s", raw, cfg, cfg, cfg, cfg.JoinSecret)
	if strings.Contains(out.String(), string(testJoin)) || !strings.Contains(out.String(), redacted) {
		t.Fatal(out.String())
	}
}

// What only masters may write or read, as raw NATS, past our own functions.
func TestMediaNodeIsKeptFromWhatMastersWrite(t *testing.T) {
	m := single(t)
	n := join(t, "n1", m)
	ctx := testContext(t)

	arrived := make(chan string, 100)
	if _, err := subscribe(m, ">", "", func(msg *nats.Msg) {
		if string(msg.Data) == "forged" {
			arrived <- msg.Subject
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{
		ClusterView, ClusterNotice, askOrigin,
		NodeCommand("n2", "drain"), NodeCommand("n1", "drain"),
		NodeLoad("n2"), RoomState("r", "n2"), EventSubject("n2", "nodeCrashed"), EventSubject("m1", "autoscaling"),
		WorkSubject("q"), "$KV." + BucketLeases + "." + LeaseLeader, "$KV." + BucketLeases + "." + LeaseNode("n2"),
		"$KV." + BucketCluster + ".plan", "$KV." + BucketRooms + ".r",
		"$JS.API.STREAM.DELETE.EVENTS", "$JS.API.STREAM.PURGE.KV_rooms", "$JS.API.STREAM.CREATE.X",
		"$JS.API.CONSUMER.CREATE.EVENTS.x", "$JS.API.CONSUMER.DELETE.WORK.q",
		"$SYS.REQ.SERVER.PING", "_INBOX.x", inboxPrefix("n2") + ".x", "else",
	} {
		if err := n.conn.nc.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
	}
	// The last one is allowed; it comes after all the others.
	if err := n.conn.nc.Publish(NodeStatus("n1"), []byte("forged")); err != nil {
		t.Fatal(err)
	}
	select {
	case subject := <-arrived:
		if subject != NodeStatus("n1") {
			t.Errorf("%s arrived", subject)
		}
	case <-ctx.Done():
		t.Fatal("what is allowed does not arrive")
	}
	for _, subject := range []string{"event.>", "work.>", "$KV.>", "_INBOX.>", inboxPrefix("n2") + ".>", ">", "$SYS.>", "tell.node.n2.*", "ask.master.x"} {
		sub, err := n.conn.nc.SubscribeSync(subject)
		if err != nil {
			continue
		}
		if err := n.conn.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, err := sub.NextMsgWithContext(ctx); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("subscribe %s: %v", subject, err)
		}
	}
	if _, err := NewRecords[note](n, BucketRooms, "").Put(ctx, "r", note{}); !errors.Is(err, ErrDenied) {
		t.Errorf("put: %v", err)
	}
	if err := NewRecords[note](n, BucketRooms, "").Delete(ctx, "r", 0); !errors.Is(err, ErrDenied) {
		t.Errorf("delete: %v", err)
	}
	for what, err := range map[string]error{
		"submit":   Submit(ctx, n, "q", "id", note{}),
		"events":   n.ReadEvents(ctx, 0, func(StoredEvent) error { return nil }),
		"presence": n.WatchPresence(ctx, func(Presence) {}),
		"export":   n.Export(ctx, &strings.Builder{}),
		"import":   n.Import(ctx, strings.NewReader("")),
	} {
		if !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Who cannot prove the secret, or claims to be a master, stays outside.
func TestWrongCredentials(t *testing.T) {
	cfg := masterConfig(t, "m1")
	cfg.TLS.Plain = true // so that it is the signature that is refused
	m := mustOpen(t, cfg)
	mustReady(t, m)
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	right := nodeKey(testJoin, "n1")
	for name, opts := range map[string][]nats.Option{
		"no credentials":         nil,
		"password":               {nats.UserInfo("node n1", string(testJoin))},
		"other secret":           credentials(kindNode, "n1", nodeKey("another-secret-here", "n1")),
		"other node's key":       credentials(kindNode, "n2", right),
		"random key":             credentials(kindNode, "n1", stranger),
		"master by join secret":  credentials(kindMaster, "m1", right),
		"system by join secret":  credentials(kindSystem, "m1", nodeKey(testJoin, "m1")),
		"name without kind":      append(credentials(kindNode, "n1", right), nats.Name("n1")),
		"name of another kind":   append(credentials(kindNode, "n1", right), nats.Name("master n1")),
		"bad node id":            credentials(kindNode, "n.>", nodeKey(testJoin, "n.>")),
		"signature of something": {nats.Name("node n1"), nats.Nkey(kindNode, func([]byte) ([]byte, error) { return ed25519.Sign(right, []byte("x")), nil })},
	} {
		nc, err := nats.Connect("nats://"+m.Address(), opts...)
		if err == nil {
			nc.Close()
			t.Errorf("%s: connected", name)
		} else if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}
	nc, err := nats.Connect("nats://"+m.Address(), credentials(kindNode, "n1", right)...)
	if err != nil {
		t.Fatalf("the right one: %v", err)
	}
	nc.Close()
}

// Without certificates the secret is what both sides of TLS are checked by.
func TestDerivedTLS(t *testing.T) {
	m := single(t)
	cfg := nodeConfig("n1", m.Address())
	cfg.JoinSecret = "another-secret-of-16"
	l, log := newLogs(t)
	n, err := Open(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	eventually(t, "the server is refused", func() bool { return l.count("cannot reach", errPinned.Error()) == 1 })
	if s, _ := n.Status(); s.Connected {
		t.Error("connected")
	}
	if nc, err := nats.Connect("nats://"+m.Address(), credentials(kindNode, "n1", nodeKey(testJoin, "n1"))...); err == nil {
		nc.Close()
		t.Error("connected without knowing the server")
	}

	// A route needs the route secret; the join secret is not enough.
	three := threeConfigs(t)[0]
	serverSide, err := three.routeTLS()
	if err != nil {
		t.Fatal(err)
	}
	three.Server.RouteSecret = testJoin
	clientSide, err := three.routeTLS()
	if err != nil {
		t.Fatal(err)
	}
	clientSide.VerifyConnection = nil
	if err := handshake(t, clientSide, serverSide); !errors.Is(err, errPinned) {
		t.Errorf("a stranger as master: %v", err)
	}
	right, err := threeConfigs(t)[0].routeTLS()
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, right, serverSide); err != nil {
		t.Errorf("a master: %v", err)
	}
}

// handshake returns the server's error.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := tls.Client(a, client)
		if c.Handshake() == nil {
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	s := tls.Server(b, server)
	err := s.Handshake()
	a.Close()
	<-done
	return err
}

func TestTLSFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, key := writeCertificates(t, dir)
	cfg := masterConfig(t, "m1")
	cfg.TLS = TLS{Cert: filepath.Join(dir, "cert.pem"), Key: key, CA: ca}
	m := mustOpen(t, cfg)
	mustReady(t, m)

	ncfg := nodeConfig("n1", m.Address())
	ncfg.TLS.CA = ca
	n := mustOpen(t, ncfg)
	mustReady(t, n)

	other := t.TempDir()
	otherCA, _ := writeCertificates(t, other)
	ncfg = nodeConfig("n2", m.Address())
	ncfg.TLS.CA = otherCA
	l, log := newLogs(t)
	bad, err := Open(ncfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bad.Close)
	eventually(t, "the certificate is refused", func() bool { return l.count("cannot reach", "certificate") == 1 })

	three := threeConfigs(t)
	var masters []*Bus
	for _, c := range three {
		c.TLS = cfg.TLS
		masters = append(masters, mustOpen(t, c))
	}
	mustReady(t, masters...)

	for _, missing := range []TLS{{Cert: "x", Key: "y", CA: "z"}, {Cert: cfg.TLS.Cert, Key: key, CA: key}} {
		c := threeConfigs(t)[0]
		c.TLS = missing
		if b, err := Open(c, log); err == nil {
			b.Close()
			t.Errorf("%+v is accepted", missing)
		}
	}
}

// writeCertificates writes ca.pem, cert.pem and key.pem for 127.0.0.1.
func writeCertificates(t *testing.T, dir string) (ca, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("cert.pem", "CERTIFICATE", der)
	return write("ca.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}
