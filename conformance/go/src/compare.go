package main

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strings"
)

// Keys that may differ between servers or calls, at any depth.
var ignored = map[string]bool{"timing": true, "deviation": true, "message": true, "version": true}

// difference returns the first difference of got from expected, "" if there is none. Both are JSON;
// nil stands for an absent value.
func difference(path string, expected, got any, tolerance float64) string {
	switch expected := expected.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			return differenceOfObjects(path, expected, got, tolerance)
		}
	case []any:
		if got, ok := got.([]any); ok && len(got) == len(expected) {
			for i := range expected {
				at := fmt.Sprintf("%s[%d]", path, i)
				if found := difference(at, expected[i], got[i], tolerance); found != "" {
					return found
				}
			}
			return ""
		}
	case float64:
		if got, ok := got.(float64); ok && math.Abs(got-expected) <= tolerance {
			return ""
		}
	default: // string, boolean or nil
		if got == expected {
			return ""
		}
	}
	return fmt.Sprintf("%s: expected %s, got %s", path, show(expected), show(got))
}

func differenceOfObjects(path string, expected, got map[string]any, tolerance float64) string {
	for _, key := range keysOf(expected, got) {
		wanted, isWanted := expected[key]
		value, isThere := got[key]
		isAny := key == "retryAfter" || wanted == "*" && strings.HasSuffix(path, "metadata")
		if ignored[key] || isAny && isWanted && isThere {
			continue
		}
		at := strings.TrimPrefix(path+"."+key, ".")
		if found := difference(at, wanted, value, tolerance); found != "" {
			return found
		}
	}
	return ""
}

func keysOf(objects ...map[string]any) []string {
	var keys []string
	for _, object := range objects {
		for key := range object {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys
}

func show(value any) string {
	if value == nil {
		return "nothing"
	}
	text, _ := json.Marshal(value)
	return string(text)
}
