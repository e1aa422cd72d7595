package telemetry

// Mask hides the numbers of citizens in a path or whatever else is shown of a request.
//
// A number of a citizen (SSIN) has eleven digits, in a row or in groups as in
// 79.07.23-000.48, with up to three separators between two groups, any of them perhaps
// escaped (%2E). Groups that have eleven digits together are taken for one, whatever
// stands around them: rather something else is hidden than a citizen shown. CBE
// numbers, which have ten, stay, as do longer rows of digits, which are ids.
//
// What has nothing to hide is given back as it is. The length never changes.
func Mask(s string) string {
	var masked []byte
	for i := 0; i < len(s); {
		if digitAt(s, i) == 0 {
			i += othersAt(s, i)
			continue
		}
		whole, group := citizen(s, i)
		if whole == 0 {
			i = group
			continue
		}
		if masked == nil {
			masked = []byte(s)
		}
		for i < whole {
			if n := digitAt(s, i); n > 0 {
				for range n {
					masked[i] = '*'
					i++
				}
				continue
			}
			i += othersAt(s, i)
		}
	}
	if masked == nil {
		return s
	}
	return string(masked)
}

// citizen finds where the number of a citizen ends that begins with the group of
// digits at i, 0 if none does, and where that group ends.
func citizen(s string, i int) (whole, group int) {
	const (
		ssin = 11
		gap  = 3 // separators between two groups
	)
	digits := 0
	for {
		for n := digitAt(s, i); n > 0; n = digitAt(s, i) {
			digits++
			i += n
		}
		if group == 0 {
			group = i
		}
		switch {
		case digits == ssin:
			return i, group
		case digits > ssin:
			return 0, group
		}
		between := 0
		for n := separatorAt(s, i); n > 0 && between < gap; n = separatorAt(s, i) {
			between++
			i += n
		}
		if between == 0 || digitAt(s, i) == 0 {
			return 0, group
		}
	}
}

// digitAt is how many bytes the digit at i takes, 0 if there is none.
func digitAt(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] >= '0' && s[i] <= '9':
		return 1
	case s[i] == '%' && i+2 < len(s) && s[i+1] == '3' && s[i+2] >= '0' && s[i+2] <= '9':
		return 3
	}
	return 0
}

// othersAt is how many bytes to step over where there is no digit: the digits of an
// escape are none.
func othersAt(s string, i int) int {
	if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
		return 3
	}
	return 1
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// separatorAt is digitAt for what stands between groups of digits.
func separatorAt(s string, i int) int {
	if i >= len(s) {
		return 0
	}
	switch s[i] {
	case '.', '-', ' ', '+', '_':
		return 1
	case '%':
		if i+2 < len(s) && s[i+1] == '2' {
			switch s[i+2] {
			case '0', 'E', 'e', 'D', 'd', 'B', 'b': // blank . - +
				return 3
			}
		}
	}
	return 0
}
