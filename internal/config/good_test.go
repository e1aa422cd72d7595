package config_test

import (
	"bytes"
	"os"
	"regexp"
	"testing"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

func TestGoodFilesLoadAndTheSchemaAcceptsThem(t *testing.T) {
	schema := compile(t)
	for _, path := range append(glob(t, "testdata/*.good.yaml"), "../../config.yaml") {
		if _, err := loadTestdata(t, path); err != nil {
			t.Error(err)
		}
		if err := schema.Validate(document(t, path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSchemaRefusesWhatItCanSee(t *testing.T) {
	schema := compile(t)
	for _, name := range []string{"unknown_keys", "wrong_types", "environment_missing", "not_a_mapping", "numbers",
		"clients", "callers"} {
		t.Run(name, func(t *testing.T) {
			if err := schema.Validate(document(t, "testdata/"+name+".bad.yaml")); err == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

func compile(t *testing.T) *validator.Schema {
	t.Helper()
	parsed, err := validator.UnmarshalJSON(bytes.NewReader(config.Schema()))
	testkit.Must(t, err)
	c := validator.NewCompiler()
	testkit.Must(t, c.AddResource("config.schema.json", parsed))
	schema, err := c.Compile("config.schema.json")
	testkit.Must(t, err)
	return schema
}

// document reads YAML as an editor's validator sees it.
func document(t *testing.T, path string) (value any) {
	t.Helper()
	content, err := os.ReadFile(path)
	testkit.Must(t, err)
	days := regexp.MustCompile(`: (\d{4}-\d\d-\d\d)`) // text in YAML 1.2, times to this reader
	testkit.Must(t, yaml.Unmarshal(days.ReplaceAll(content, []byte(`: "$1"`)), &value))
	return value
}
