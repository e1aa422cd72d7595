package ebox

import "strings"

// IDs gives the ids of the message and of the attachment that a path names, decoded;
// empty where it names none. It reads the path as leniently as Classify does. The path
// may begin anywhere above "messages": a provider of that name is not mistaken for it.
func IDs(path string) (message, attachment string) {
	for rest := path; rest != ""; {
		var name string
		name, rest = nextSegment(rest)
		switch {
		case strings.EqualFold(name, "providers") && message == "":
			_, rest = nextSegment(rest) // its id
		case strings.EqualFold(name, "messages") && message == "":
			message, rest = nextSegment(rest)
			if message == "" {
				return "", ""
			}
		case strings.EqualFold(name, "attachments") && message != "":
			attachment, _ = nextSegment(rest)
			return message, attachment
		}
	}
	return message, ""
}

// IsReference reports whether a path is one of the reference data, which is the same for everybody and
// about nobody: document types, senders, images.
func IsReference(path string) bool {
	for rest := path; rest != ""; {
		var name string
		name, rest = nextSegment(rest)
		switch {
		case strings.EqualFold(name, "providers"):
			_, rest = nextSegment(rest)
		case strings.EqualFold(name, "messages"):
			return false // what stands behind is an id
		case strings.EqualFold(name, "referenceData"):
			return true
		}
	}
	return false
}
