package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

func TestSecretsNeverPrint(t *testing.T) {
	content, err := os.ReadFile("testdata/full.good.yaml")
	testkit.Must(t, err)
	c, err := config.Parse("full", content, "testdata", environment)
	testkit.Must(t, err)
	payroll := c.OAuth.Clients["payroll"]
	if got := payroll.Keystore.Password.Reveal(); got != "hunter2" {
		t.Fatalf("the password is %q", got)
	}
	if got := c.Egress.ProxyURL().String(); got != "http://user:hunter2@proxy:3128" {
		t.Fatalf("the proxy is %q", got)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "keystore", payroll.Keystore, "password", payroll.Keystore.Password,
		"redis", c.Redis)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "keystore", *payroll.Keystore, "password",
		payroll.Keystore.Password, "redis", c.Redis)
	asJSON, err := json.Marshal(c)
	testkit.Must(t, err)
	s := payroll.Keystore.Password
	printed := log.String() + string(asJSON) + fmt.Sprint(c, *c, *payroll.Keystore, s, &s, []config.Secret{s}) +
		fmt.Sprintf("%v %+v %#v %s %q %x %X %d %t %5.1f", *payroll.Keystore, *payroll.Keystore, *payroll.Keystore, s,
			s, s, s, s, s, s) +
		fmt.Errorf("x %s: %v", s, *payroll.Keystore).Error()
	for _, form := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2"),
		fmt.Sprint([]byte("hunter2"))} {
		if strings.Contains(printed, form) {
			t.Errorf("%q is printed", form)
		}
	}
	if strings.Count(printed, "<secret>") < 20 {
		t.Error("the secrets are not where they are looked for")
	}
}

// Whatever else is wrong on the line of a password, the line is shown without it.
func TestExcerptsHideSecretsHoweverTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const secret = "S3cr3tS3cr3t"
		form := rapid.SampledFrom([]string{
			secret, "'" + secret + "'", `"` + secret + `"`, `"a\"` + secret + ` # b"`, "'it''s " + secret + "'", `"a
          ` + secret + `"`, "a\n          " + secret, "[" + secret + "]", "{a: " + secret + "}",
		}).Draw(t, "form")
		key := rapid.SampledFrom([]string{"password", "passwrd", "Password", "keyPassword", "pass", "PASSWORT", "secret",
			"pin", "passwordd", "token", "key"}).Draw(t, "key")
		before := rapid.SampledFrom([]string{"", "alais: x, ", "file: [x], ", "é: x, "}).Draw(t, "before")
		after := rapid.SampledFrom([]string{"", ", alais: x", ", file: {}", ", file: x, file: y", ", <<: x"}).Draw(t, "after")
		text := "environment: nowhere\noauth:\n  clients:\n    office: {keystore: {" + before + key + ": " +
			form + after + "}, x: y}\n"
		if rapid.Bool().Draw(t, "broken") {
			text = strings.Replace(text, ", x: y}", "", 1)
		}
		_, err := config.Parse("x", []byte(text), ".", environment)
		if err == nil {
			t.Fatal("no error")
		}
		if strings.Contains(err.Error(), secret) && !(key == "pin" && strings.Contains(err.Error(), "not YAML")) {
			t.Fatalf("the secret is shown:\n%s\nof\n%s", err, text)
		}
	})
}

func TestSecretsAreHiddenWhereverTheyStand(t *testing.T) {
	texts := []string{
		// What was meant to name a file may be the secret itself, in a section that has none.
		"admin: {token: S3cr3t}", "redis: {encryptionKeys: [{id: a, key: S3cr3t}]}",
		"oauth: {clients: {office: {key: S3cr3t}}}",
		"admin: {token: S3cr3t", "audit:\n  key: S3cr3t: x",
		"admin: {token:\n  S3cr3t: ]", // the rest of a value that began above
	}
	for _, block := range []string{"|", ">", "|-", ">2"} {
		texts = append(texts, "oauth:\n  clients:\n    office:\n      keystore:\n        password: "+block+
			"\n          S3cr3t\n          S3cr3t: x\n        alais: x\n")
	}
	for _, text := range texts {
		_, err := config.Parse("x", []byte("environment: production\n"+text+"\n"), ".", environment)
		if err == nil || strings.Contains(err.Error(), "S3cr3t") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A line break that only YAML counts would move every line below it, and with it
// what is hidden.
func TestOddLineBreaksDoNotMoveTheExcerpt(t *testing.T) {
	for _, odd := range []string{"\r", "\u0085", "\u2028", "\u2029", "\x00"} {
		text := "environment: production\n# a" + odd + "# b\noauth: {clients: {office: {keystore: " +
			"{password: S3cr3t, alais: x}}}}\n"
		_, err := config.Parse("x", []byte(text), ".", environment)
		errs, _ := err.(config.Errors)
		if len(errs) != 1 || errs[0].Line != 2 || errs[0].Column != 4 || strings.Contains(err.Error(), "S3cr3t") {
			t.Errorf("%q: %v", odd, err)
		}
	}
}
