package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// askAdministration asks the admin listener of a gateway that runs, and gives what it
// answers with 200; the reason of a refusal is in the error. tokenFile may be empty.
func askAdministration(p *process, method, address, tokenFile string) ([]byte, error) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, usageError{err.Error()}
	}
	if tokenFile != "" {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("asking the admin listener: %w; does the gateway run, and is --admin the address of its admin.listen?", err)
	}
	defer resp.Body.Close()
	const most = 1 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if resp.StatusCode != http.StatusOK {
		var why struct{ Detail string }
		if err != nil || json.Unmarshal(body, &why) != nil || why.Detail == "" {
			return nil, fmt.Errorf("the admin listener answers %s", resp.Status)
		}
		return nil, fmt.Errorf("the admin listener answers %s: %s", resp.Status, why.Detail)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the admin listener's answer: %w", err)
	}
	return body, nil
}
