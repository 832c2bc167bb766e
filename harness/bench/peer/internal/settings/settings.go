// Package settings keeps the desired counts in memory and, durably, in a JSON file.
package settings

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Setting is the desired count of a Deployment, and an entry in the file.
type Setting struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Replicas  int32  `json:"replicas"`
	// Generation grows by one with each change. The file omits a 1.
	Generation int64      `json:"generation,omitempty"`
	SetBy      string     `json:"setBy,omitempty"`
	SetAt      *time.Time `json:"setAt,omitempty"`
	Reason     string     `json:"reason,omitempty"`
}

// Target returns the Deployment of the setting.
func (s Setting) Target() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// Store is safe for concurrent use. Readers never wait for the disk.
type Store struct {
	path string
	// One change at a time.
	changes sync.Mutex
	// Sorted by namespace and name, and never changed in place.
	current atomic.Pointer[[]Setting]
}

// Open reads the file, which does not exist before the first setting.
func Open(path string) (*Store, error) {
	var entries []Setting
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		decoder := json.NewDecoder(bytes.NewReader(content))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&entries); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	for i := range entries {
		entries[i].Generation = max(entries[i].Generation, 1)
	}
	slices.SortFunc(entries, func(a, b Setting) int { return compare(a, b.Target()) })
	store := &Store{path: path}
	store.current.Store(&entries)
	return store, nil
}

// Get returns the setting of a Deployment, if there is one.
func (s *Store) Get(target types.NamespacedName) (Setting, bool) {
	all := s.All()
	at, found := slices.BinarySearchFunc(all, target, compare)
	if !found {
		return Setting{}, false
	}
	return all[at], true
}

// All returns every setting, sorted by namespace and name. The caller must not change it.
func (s *Store) All() []Setting {
	return *s.current.Load()
}

// Change replaces the setting of a Deployment with the result of decide, which gets the current one or a zero value.
// It returns when the change is durable.
func (s *Store) Change(target types.NamespacedName, decide func(Setting) (Setting, error)) (Setting, error) {
	s.changes.Lock()
	defer s.changes.Unlock()
	all := slices.Clone(s.All())
	at, found := slices.BinarySearchFunc(all, target, compare)
	if !found {
		all = slices.Insert(all, at, Setting{Name: target.Name, Namespace: target.Namespace})
	}
	setting, err := decide(all[at])
	if err != nil {
		return Setting{}, err
	}
	setting.Generation++
	all[at] = setting
	if err := s.write(all); err != nil {
		return Setting{}, err
	}
	s.current.Store(&all)
	return setting, nil
}

// write replaces the file atomically: a crash leaves the old file or the new one.
func (s *Store) write(all []Setting) (err error) {
	content, err := render(all)
	if err != nil {
		return err
	}
	folder := filepath.Dir(s.path)
	file, err := os.CreateTemp(folder, "."+filepath.Base(s.path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), s.path); err != nil {
		return err
	}
	return syncFolder(folder)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// render writes one entry per line, for people to read and compare.
func render(all []Setting) ([]byte, error) {
	var content bytes.Buffer
	content.WriteString("[")
	for i, setting := range all {
		if setting.Generation == 1 {
			setting.Generation = 0
		}
		entry, err := json.Marshal(setting)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			content.WriteString(",")
		}
		content.WriteString("\n  ")
		content.Write(entry)
	}
	content.WriteString("\n]\n")
	return content.Bytes(), nil
}

func compare(setting Setting, target types.NamespacedName) int {
	return cmp.Or(cmp.Compare(setting.Namespace, target.Namespace), cmp.Compare(setting.Name, target.Name))
}
