package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// growth carries the state of a single master into a cluster of several: the
// server cannot take over the files of a single one. It goes through a file, so
// that it can be interrupted anywhere:
//
//	single/ --export--> growth.jsonl --import--> the cluster; growth.jsonl.done
//
// single/ is kept as single.exported.
type growth struct {
	file string
	log  *slog.Logger
}

// ErrShrink: this master was one of several and is now configured to be alone.
var ErrShrink = errors.New("the state of several masters cannot be taken over by a single one: export it while they run and import it")

// prepareGrowth returns what there is to carry over, or nil. It runs before the
// server starts.
func prepareGrowth(ctx context.Context, cfg Config, log *slog.Logger) (*growth, error) {
	dir := cfg.Server.DataDir
	single, member := filepath.Join(dir, "single"), filepath.Join(dir, "member")
	if cfg.Server.Masters == 1 {
		if exists(member) && !exists(single) {
			return nil, fmt.Errorf("%s: %w", dir, ErrShrink)
		}
		return nil, nil
	}
	g := &growth{filepath.Join(dir, "growth.jsonl"), log}
	switch {
	case exists(g.file):
	case !exists(single):
		return nil, nil
	default:
		log.Info("bus exports the state of the single master for the cluster", "file", g.file)
		if err := exportSingle(ctx, cfg, log, g.file); err != nil {
			return nil, fmt.Errorf("growth: %w", err)
		}
	}
	if exists(single) {
		if err := os.Rename(single, single+".exported"); err != nil {
			return nil, fmt.Errorf("growth: %w", err)
		}
	}
	return g, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// exportSingle starts the single master once more, unreachable, and writes its
// state to a file that is there as a whole or not at all.
func exportSingle(ctx context.Context, cfg Config, log *slog.Logger, file string) error {
	cfg.Server.Masters, cfg.Server.Listen = 1, ""
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	b, err := Open(cfg, log)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Ready(ctx); err != nil {
		return err
	}
	f, err := os.OpenFile(file+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = b.Export(ctx, f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}

// growthKey is created by the master that imports; a second one with state of
// its own must not mix it in.
const growthKey = "growth"

// finish imports what the master brings along. founded says that the cluster
// has its origin: either a former finish came as far, or it is not ours.
func (g *growth) finish(ctx context.Context, b *Bus, founded bool) error {
	claims := NewRecords[string](b, BucketCluster, "")
	_, err := claims.Create(ctx, growthKey, b.cfg.Node)
	if errors.Is(err, ErrExists) {
		var owner string
		if owner, _, err = claims.Get(ctx, growthKey); err == nil && owner != b.cfg.Node {
			return g.unused(b.log)
		}
	}
	if err != nil {
		return err
	}
	if !founded {
		f, err := os.Open(g.file)
		if err != nil {
			return fmt.Errorf("growth: %w", err)
		}
		err = b.importState(ctx, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("growth: %w", err)
		}
		b.log.Info("bus imported the state of the single master")
	}
	return os.Rename(g.file, g.file+".done")
}

func (g *growth) unused(log *slog.Logger) error {
	log.Error("bus does not use the state of this master: the cluster has another's", "file", g.file+".unused")
	return os.Rename(g.file, g.file+".unused")
}
