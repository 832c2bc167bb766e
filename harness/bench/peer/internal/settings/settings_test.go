package settings

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestChangesOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replicas.json")
	store := open(t, path)
	for _, name := range []string{"web", "api", "web"} {
		set(t, store, name, 3)
	}
	refused := errors.New("refused")
	refuse := func(Setting) (Setting, error) { return Setting{}, refused }
	if _, err := store.Change(target("db"), refuse); !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}

	const expected = `[
  {"name":"api","namespace":"shop","replicas":3},
  {"name":"web","namespace":"shop","replicas":3,"generation":2}
]
`
	if content, err := os.ReadFile(path); err != nil || string(content) != expected {
		t.Fatalf("the file has %s (%v)", content, err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Fatalf("the folder has %v (%v)", files, err)
	}
	again := open(t, path)
	if setting, found := again.Get(target("web")); !found || setting.Generation != 2 {
		t.Fatalf("got %+v", setting)
	}
	if _, found := again.Get(target("db")); found {
		t.Fatal("a refused change was stored")
	}
}

func TestAFailedWriteChangesNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "gone")
	store := open(t, filepath.Join(folder, "replicas.json"))
	keep := func(present Setting) (Setting, error) { return present, nil }
	if _, err := store.Change(target("web"), keep); err == nil {
		t.Fatal("it was stored nowhere")
	}
	if all := store.All(); len(all) != 0 {
		t.Fatalf("got %+v", all)
	}
}

func TestAnUnknownKeyIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replicas.json")
	content := []byte(`[{"name":"web","namespace":"shop","replicas":3,"enforcement":"ignore"}]`)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Fatal("it was read")
	}
}

func open(t *testing.T, path string) *Store {
	t.Helper()
	store, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func set(t *testing.T, store *Store, name string, replicas int32) {
	t.Helper()
	decide := func(present Setting) (Setting, error) {
		present.Replicas = replicas
		return present, nil
	}
	if _, err := store.Change(target(name), decide); err != nil {
		t.Fatal(err)
	}
}

func target(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}
