package config

import (
	"cmp"
	"maps"
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
	case a.Kind() == reflect.Struct && a.Type().PkgPath() == reflect.TypeFor[Config]().PkgPath():
		for i := range a.NumField() {
			if f := a.Type().Field(i); f.IsExported() && f.Tag.Get("yaml") != "-" {
				changedIn(names, strings.Trim(at+"."+f.Tag.Get("yaml"), "."), a.Field(i), b.Field(i))
			}
		}
	case a.Kind() == reflect.Slice && named(a.Type().Elem()):
		before, after, found := byName(a), byName(b), len(*names)
		both := maps.Clone(before)
		maps.Copy(both, after)
		for name := range both {
			x, y := before[name], after[name]
			if at := at + "[" + name + "]"; x.IsValid() && y.IsValid() {
				changedIn(names, at, x, y)
			} else {
				*names = append(*names, at)
			}
		}
		if len(*names) == found { // a name stands twice, or only the order changed
			*names = append(*names, at)
		}
	default:
		*names = append(*names, cmp.Or(at, "configuration"))
	}
}

// named reports whether a struct has a Name. Of enterprises there may be a hundred thousand.
func named(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[Enterprise]() {
		return false
	}
	_, ok := t.FieldByName("Name")
	return ok
}

func byName(list reflect.Value) map[string]reflect.Value {
	all := make(map[string]reflect.Value, list.Len())
	for _, one := range list.Seq2() {
		all[one.FieldByName("Name").String()] = one
	}
	return all
}
