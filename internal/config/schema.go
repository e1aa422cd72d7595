package config

import _ "embed"

//go:embed config.schema.json
var schema []byte

// Schema is the JSON Schema of config.yaml, for editors and pipelines. It is
// generated from the types of this package and their comments by its tests.
func Schema() []byte { return schema }
