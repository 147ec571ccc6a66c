package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/concertina-rtc/concertina/internal/auth"
)

const (
	// contentType is LiveKit's. It is none that a framework would parse before
	// the signature is checked.
	contentType = "application/webhook+json"
	// tokenTTL is short: the token is made for one attempt.
	tokenTTL = 5 * time.Minute
	// maxResponse is how much of an answer is read, to reuse the connection.
	maxResponse = 64 << 10
)

// sender makes the requests to one URL.
type sender struct {
	cfg    Config
	url    string
	label  string // the URL without what may be secret
	client *http.Client
}

// result is the outcome of one request.
type result struct {
	err        error
	retry      bool
	retryAfter time.Duration
}

func newSender(cfg Config, rawURL string, client *http.Client) (*sender, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("not an http:// or https:// URL") // err would quote it
	}
	label := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return &sender{cfg: cfg, url: rawURL, label: label.String(), client: client}, nil
}

// send posts the event of it once. It is alone with it: the endpoint touches
// an item again only when its request has settled.
func (s *sender) send(ctx context.Context, it *item) result {
	if it.body == nil {
		msg := it.event.Webhook()
		msg.NumDropped = it.numDropped
		body, err := protojson.Marshal(msg)
		if err != nil {
			return result{err: fmt.Errorf("encode event: %w", err)}
		}
		it.body = body
	}
	req, err := s.request(ctx, it.body)
	if err != nil {
		return result{err: err}
	}
	res, err := s.client.Do(req)
	if err != nil {
		// url.Error quotes the URL, which may hold secrets.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return result{err: fmt.Errorf("post event: %w", err), retry: true}
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxResponse)
	return judge(res)
}

// request signs body: the Authorization header is a bare token (no "Bearer")
// whose claim sha256 is the base64 digest of the body.
func (s *sender) request(ctx context.Context, body []byte) (*http.Request, error) {
	sum := sha256.Sum256(body)
	token, err := auth.Sign(s.cfg.APIKey, s.cfg.APISecret, auth.Claims{SHA256: base64.StdEncoding.EncodeToString(sum[:])}, tokenTTL)
	if err != nil {
		return nil, fmt.Errorf("sign event: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("make request: bad URL")
	}
	req.Header.Set("Authorization", token)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	return req, nil
}

// judge tells success, what may pass, and what would fail again.
func judge(res *http.Response) result {
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return result{}
	case code >= 300 && code < 400:
		return result{err: fmt.Errorf("answer %d: redirects are not followed, configure the final URL", code)}
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return result{err: fmt.Errorf("answer %d", code), retry: true, retryAfter: retryAfter(res.Header)}
	default:
		return result{err: fmt.Errorf("answer %d", code)}
	}
}

// retryAfter reads the seconds form of Retry-After (RFC 9110 section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 || n > 24*3600 {
		return 0
	}
	return time.Duration(n) * time.Second
}
