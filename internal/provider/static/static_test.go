package static

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/concertina-rtc/concertina/internal/provider"
	"github.com/concertina-rtc/concertina/internal/provider/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	providertest.Run(t, func(*testing.T) *providertest.Subject {
		p := New()
		return &providertest.Subject{Provider: p, Add: func(node string) error {
			_, err := p.Add(node, "rack 4", "10.0.0.1")
			return err
		}}
	})
}

func TestAdd(t *testing.T) {
	p := New()
	in, err := p.Add("n1", "rack 4", "10.0.0.1")
	if err != nil || in.State != provider.Running || in.ProviderID != "rack 4" || in.Address != "10.0.0.1" {
		t.Fatalf("%+v, %v", in, err)
	}
	for _, c := range []struct {
		node, address string
		want          error
	}{
		{"n1", "10.0.0.2", ErrExists}, {"n2", "10.0.0.1", ErrExists}, {"a/b", "10.0.0.3", provider.ErrInvalid},
	} {
		if _, err := p.Add(c.node, "", c.address); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := p.Terminate(t.Context(), "n1", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add("n1", "", "10.0.0.1"); err != nil {
		t.Errorf("a machine comes back: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add("n3", "", ""); !errors.Is(err, provider.ErrClosed) {
		t.Errorf("add to a closed provider: %v", err)
	}
}
