package wire

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryTime reads a value of Retry-After in either of its forms, seconds or a date (RFC
// 9110, section 10.2.3). It is zero if the value cannot be read, may lie in the past, and
// is as far away as the value says: whoever waits has a bound of its own.
func RetryTime(value string, now time.Time) time.Time {
	value = strings.TrimSpace(value)
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the largest number of 31 bits
		return now.Add(time.Duration(seconds) * time.Second)
	}
	date, _ := http.ParseTime(value)
	return date
}

// RetryAfter is how long it takes until the RetryTime of the field; 0 if there is none or
// it has passed.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	return max(RetryTime(h.Get("Retry-After"), now).Sub(now), 0)
}
