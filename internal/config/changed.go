package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// maxChanged bounds how many keys Changed names.
const maxChanged = 50

// Changed names the keys that differ between two configurations, as "routes[registry].cache",
// without their values: the parts that tell themselves apart by a name are compared one by
// one. Where the keys agree and the hashes do not, a file that they name has changed: "files".
func Changed(old, next *Config) []string {
	var names []string
	changedIn(&names, "", reflect.ValueOf(*old), reflect.ValueOf(*next))
	if len(names) == 0 && old.Hash() != next.Hash() {
		names = append(names, "files")
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > maxChanged {
		names = append(names[:maxChanged], "…")
	}
	return names
}

func changedIn(names *[]string, at string, a, b reflect.Value) {
	switch {
	case reflect.DeepEqual(a.Interface(), b.Interface()):
	case a.Kind() == reflect.Struct && hasKeys(a.Type()):
		for i := range a.NumField() {
			f := a.Type().Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if f.IsExported() && key != "-" {
				changedIn(names, strings.Trim(at+"."+key, "."), a.Field(i), b.Field(i))
			}
		}
	case a.Kind() == reflect.Slice && named(a.Type().Elem()):
		before, after, found := byName(a), byName(b), len(*names)
		for name, x := range before {
			if y, ok := after[name]; ok {
				changedIn(names, at+"["+name+"]", x, y)
			} else {
				*names = append(*names, at+"["+name+"]")
			}
		}
		for name := range after {
			if _, ok := before[name]; !ok {
				*names = append(*names, at+"["+name+"]")
			}
		}
		if len(*names) == found { // a name stands twice, or only the order changed
			*names = append(*names, at)
		}
	default:
		*names = append(*names, cmp.Or(at, "configuration"))
	}
}

// hasKeys tells a struct that stands for a mapping of the file, and not for one value of it.
func hasKeys(t reflect.Type) bool {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Tag.Get("yaml") != "" {
			return true
		}
	}
	return false
}

// named tells structs with a Name. Of enterprises there may be a hundred thousand.
func named(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[Enterprise]() {
		return false
	}
	f, ok := t.FieldByName("Name")
	return ok && f.Type.Kind() == reflect.String && f.Tag.Get("yaml") != ""
}

func byName(list reflect.Value) map[string]reflect.Value {
	all := make(map[string]reflect.Value, list.Len())
	for i := range list.Len() {
		all[list.Index(i).FieldByName("Name").String()] = list.Index(i)
	}
	return all
}
