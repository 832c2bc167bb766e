// Chart helps to check the chart without a network.
//
//	chart schemas SWAGGER FOLDER   writes JSON schemas for kubeconform, made of the OpenAPI of Kubernetes
//	chart serve FOLDER             serves a folder on a free port of loopback and prints its URL, until stdin ends
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

const reference = "#/definitions/"

func main() {
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) == 3 && arguments[0] == "schemas":
		err = schemas(arguments[1], arguments[2])
	case len(arguments) == 2 && arguments[0] == "serve":
		err = serve(arguments[1])
	default:
		err = fmt.Errorf("usage: chart schemas SWAGGER FOLDER | chart serve FOLDER")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(folder string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(listener, http.FileServer(http.Dir(folder)))
}

// schemas writes a file for each kind, named as kubeconform looks for it: kind-group-version.json.
func schemas(swagger, folder string) error {
	text, err := os.ReadFile(swagger)
	if err != nil {
		return err
	}
	var document struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	for name, definition := range document.Definitions {
		tighten(name, definition)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, definition := range document.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		// Kinds such as DeleteOptions belong to every group.
		if len(kinds) != 1 {
			continue
		}
		kind := kinds[0].(map[string]any)
		needed := map[string]any{}
		collect(name, document.Definitions, needed)
		parts := []string{kind["kind"].(string)}
		if group := strings.SplitN(kind["group"].(string), ".", 2)[0]; group != "" {
			parts = append(parts, group)
		}
		parts = append(parts, kind["version"].(string))
		schema, err := json.Marshal(map[string]any{"$ref": reference + name, "definitions": needed})
		if err != nil {
			return err
		}
		file := strings.ToLower(strings.Join(parts, "-")) + ".json"
		if err := os.WriteFile(filepath.Join(folder, file), schema, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tighten refuses unknown fields, and accepts numbers where Kubernetes does and its OpenAPI says string.
func tighten(name string, definition map[string]any) {
	switch {
	case strings.HasSuffix(name, ".IntOrString"), strings.HasSuffix(name, ".Quantity"):
		definition["type"] = []string{"string", "number"}
		delete(definition, "format")
	case definition["properties"] != nil:
		definition["additionalProperties"] = false
	}
}

// collect adds a definition, and all that it refers to.
func collect(name string, all map[string]map[string]any, needed map[string]any) {
	if _, known := needed[name]; known {
		return
	}
	needed[name] = all[name]
	var visit func(any)
	visit = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			if target, ok := value["$ref"].(string); ok {
				collect(strings.TrimPrefix(target, reference), all, needed)
			}
			for _, part := range value {
				visit(part)
			}
		case []any:
			for _, part := range value {
				visit(part)
			}
		}
	}
	visit(any(all[name]))
}
