// Rangequery evaluates PromQL over samples from a file, so that docs/monitoring.md draws what Grafana would.
//
//	rangequery SAMPLES < QUERIES > SERIES
//
// SAMPLES are lines of Prometheus' text format with timestamps, oldest first. QUERIES is a JSON object of start and
// end (Unix seconds), step (seconds) and a list of expressions; SERIES a list of matrices, one for each expression,
// as the HTTP API of Prometheus has them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
)

type request struct {
	Start, End, Step int64
	Queries          []string
}

func main() {
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(samples string, in io.Reader, out io.Writer) error {
	var asked request
	if err := json.NewDecoder(in).Decode(&asked); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "rangequery")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	db, err := tsdb.Open(folder, nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := load(db, samples); err != nil {
		return err
	}
	step := time.Duration(asked.Step) * time.Second
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 4 * step})
	found := make([]promql.Matrix, 0, len(asked.Queries))
	for _, expression := range asked.Queries {
		start, end := time.Unix(asked.Start, 0), time.Unix(asked.End, 0)
		query, err := engine.NewRangeQuery(context.Background(), db, nil, expression, start, end, step)
		if err != nil {
			return fmt.Errorf("%s: %w", expression, err)
		}
		matrix, err := query.Exec(context.Background()).Matrix()
		if err != nil {
			return fmt.Errorf("%s: %w", expression, err)
		}
		found = append(found, matrix)
	}
	return json.NewEncoder(out).Encode(found)
}

func load(db *tsdb.DB, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	appender := db.Appender(context.Background())
	parser := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return appender.Commit()
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var series labels.Labels
		_, timestamp, value := parser.Series()
		parser.Labels(&series)
		if timestamp == nil {
			return fmt.Errorf("%s: no timestamp", series)
		}
		if _, err := appender.Append(0, series, *timestamp, value); err != nil {
			return fmt.Errorf("%s: %w", series, err)
		}
	}
}
