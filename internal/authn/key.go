package authn

import "time"

type KeySource struct {
	Keystore, Alias          string
	Password, KeyPassword    func() ([]byte, error)
	KeyFile, CertificateFile string
	Algorithm                string
	Headers                  []string
}
type Key struct{}

func LoadKey(src KeySource) (*Key, error)             { panic("coming") }
func PasswordFile(path string) func() ([]byte, error) { panic("coming") }
func (k *Key) Fingerprint() string                    { panic("coming") }
func (k *Key) Algorithm() string                      { panic("coming") }
func (k *Key) Subject() string                        { panic("coming") }
func (k *Key) NotBefore() time.Time                   { panic("coming") }
func (k *Key) NotAfter() time.Time                    { panic("coming") }
