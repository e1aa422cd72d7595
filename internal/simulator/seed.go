package simulator

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/enterprise"
)

// The facts that the demo keeps to: 0206731645 and 0212148896 have mandates of
// both kinds, those of 0474028805 have ended, and 0800002352 is unknown in Mahis.
const (
	mandated      enterprise.Number = 206731645
	alsoMandated  enterprise.Number = 212148896
	mandateIsOver enterprise.Number = 474028805
)

const (
	// FirstMessage is the id of the newest message that every e-Box has from the
	// start. It is the same in every one, with other content, so that an answer
	// given to the wrong enterprise shows. Its attachment "1" is a letter in PDF, the
	// main content; "2" is a table of 1 KB.
	FirstMessage = "1000001"
	// LargeMessage has attachments "1" to "5" of 1 KB, 64 KB, 1 MB, 16 MB and 64 MB.
	LargeMessage = "1000002"
	// BodyMessage has a body as its main content, payment data and no attachments.
	BodyMessage = "1000003"
)

// largeSizes are the sizes of the attachments of LargeMessage, in bytes.
var largeSizes = []int64{1 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20}

// providerList is the list of the five providers, with the paths of their registries and with
// dates that are told from the start.
//
//go:embed providers.json
var providerList string

// seed sets up the five providers and the mandates.
func (s *Simulator) seed() {
	day := func(years int) string { return s.started.UTC().AddDate(years, 0, 0).Format(time.DateOnly) }
	at := func(hours int) string {
		return s.started.UTC().Truncate(time.Hour).Add(time.Duration(hours) * time.Hour).Format(time.RFC3339)
	}
	list := strings.NewReplacer("{in a year}", day(1), "{a year ago}", day(-1), "{an hour ago}", at(-1),
		"{in 5 hours}", at(5), "{in 30 days}", at(30*24), "{in 31 days}", at(31*24)).Replace(providerList)
	if err := json.Unmarshal([]byte(list), &s.providers); err != nil {
		panic(fmt.Sprintf("reading providers.json: %v", err)) // it is part of the program
	}
	for i := range s.providers {
		p, where := &s.providers[i], s.main
		if p.ID == "regional" {
			where = s.regional
		}
		p.URL = s.host(where, p.ID, p.URL, p.APIVersion)
	}
	for _, kind := range []string{mandateEbox, mandateDmfa} {
		for e, until := range map[enterprise.Number]string{mandated: "", alsoMandated: "", mandateIsOver: day(-1)} {
			k := mandateKey{Enterprise: e, Kind: kind}
			s.mandates[k] = mandate{k, day(-2), until}
		}
	}
}

// seedMessages fills an e-Box, newest first, some hours between them, in such a
// way that the lists of two providers interleave: with more than a page at a version 3 provider,
// with less at an older one.
func (m *messageRegistry) seedMessages(e enterprise.Number) []*message {
	count, newest, apart := 40, 10*time.Minute, 7*time.Hour
	if m.old {
		count, newest, apart = 12, 3*time.Hour, 19*time.Hour
	}
	list := make([]*message, count)
	for i := range list {
		id := m.seededID(e, i)
		msg := m.newMessage(e, id, m.s.started.Truncate(time.Second).Add(-newest-time.Duration(i)*apart))
		msg.Subject = translated{
			"nl": fmt.Sprintf("Bericht %d voor onderneming %s", i+1, e),
			"fr": fmt.Sprintf("Message %d pour l'entreprise %s", i+1, e),
			"de": fmt.Sprintf("Nachricht %d für das Unternehmen %s", i+1, e),
		}
		msg.Read, msg.Registered = i%3 == 2, i%10 == 9
		switch i {
		case 0:
			msg.Replies = true
			msg.attachments = []*attachment{m.letter(e, msg), m.generated(e, id, 2, 1<<10)}
		case 1:
			for k, size := range largeSizes {
				msg.attachments = append(msg.attachments, m.generated(e, id, k+1, size))
			}
		case 2:
			msg.body, msg.BodyMain, msg.Read = inAll("This message is for enterprise "+e.String()+"."), true, false
			msg.Payment = map[string]any{
				"paymentDataId": "P" + id, "amount": 125.5, "vatAmount": 26.36, "currency": "EUR",
				"dueDate": msg.Published.AddDate(0, 1, 0).In(m.zone), "iban": "BE71096123456769", "bic": "GKCCBEBB",
				"reference": map[string]any{"structured": "+++090/9337/55493+++"},
			}
		default:
			msg.attachments = []*attachment{m.generated(e, id, 1, int64(2<<10+i*137))}
			if i%4 == 0 {
				msg.body = inAll("See the attachment.")
			}
		}
		list[i] = msg
	}
	return list
}

// seededID gives the first three messages the same ids in every e-Box, and the
// others ids that no other e-Box has.
func (m *messageRegistry) seededID(e enterprise.Number, i int) string {
	if i < 3 {
		return strconv.Itoa(1000001 + i)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", m.id, e, i))
	return strconv.FormatUint(3_000_000_000+uint64(binary.BigEndian.Uint32(sum[:4])), 10)
}

// newMessage is a message with what every message has.
func (m *messageRegistry) newMessage(e enterprise.Number, id string, received time.Time) *message {
	return &message{
		ID: id, Subject: inAll("Message for " + e.String()), Published: received.UTC(), Expires: received.UTC().Add(expiry),
		Visible: true, TypeID: typeAttestation, OrgID: sendingOffice, AppID: sendingProgram, Partition: partitions[0],
	}
}

// letter is the main document of the first message: a page of PDF.
func (m *messageRegistry) letter(e enterprise.Number, msg *message) *attachment {
	content := keptDocument(letter(m.id, e.String(), msg.ID))
	return newAttachment(1, "letter-"+e.String()+".pdf", "application/pdf", "Brief Lettre Brief", content)
}

// generated is the nth attachment of a message, of the given size in bytes: the
// first is the main content, small ones are tables and large ones archives.
func (m *messageRegistry) generated(e enterprise.Number, id string, n int, size int64) *attachment {
	name, mediaType := fmt.Sprintf("table-%d.csv", n), "text/csv"
	if size > 64<<10 {
		name, mediaType = fmt.Sprintf("archive-%d.zip", n), "application/zip"
	}
	content := generatedDocument(fmt.Sprintf("for enterprise %s at %s, message %s, attachment %d", e, m.id, id, n), size)
	return newAttachment(n, name, mediaType, "Bijlage Annexe Anlage", content)
}

// newAttachment has its title in nl, fr and de.
func newAttachment(n int, fileName, mediaType, title string, content *document) *attachment {
	words := strings.Fields(title)
	return &attachment{
		ID: strconv.Itoa(n), FileName: fileName, Media: mediaType, Main: n == 1,
		Title: translated{"nl": words[0], "fr": words[1], "de": words[2]}, content: content,
	}
}
