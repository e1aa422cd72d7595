package simulator

import (
	"net/http"
	"time"

	"ebox-gateway/internal/enterprise"
)

type api struct{}
type preferenceStore struct{}
type citizenMandates struct{}
type authorizationServer struct{}

func newAuthorizationServer(string, time.Duration, func() time.Time) *authorizationServer {
	return &authorizationServer{}
}
func (*authorizationServer) register(Client)           {}
func (*authorizationServer) unregister(string)         {}
func (*authorizationServer) setLifetime(time.Duration) {}
func (*authorizationServer) revoke() int               { return 0 }
func (*authorizationServer) issuedCount() int          { return 0 }
func newMandateRegister(now func() time.Time) *mandateRegister {
	return &mandateRegister{now: now}
}
func (*mandateRegister) set(Mandate)                      {}
func (*mandateRegister) remove(enterprise.Number, string) {}
func (*mandateRegister) list() []Mandate                  { return nil }
func newPreferenceStore() *preferenceStore                { return nil }
func newCitizenMandates(*Simulator) *citizenMandates      { return nil }
func (*citizenMandates) setHealth(bool)                   {}
func newProviderRegistry(s *Simulator) *providerRegistry  { return &providerRegistry{s: s} }
func (d *providerRegistry) set(Provider) error            { return nil }
func (s *Simulator) seed()                                {}
func (s *Simulator) mountAll()                            {}
func (s *Simulator) dispatch(*site, http.ResponseWriter, *http.Request) {
}
func (s *Simulator) addMessage(string, enterprise.Number, Draft) (string, error) { return "", nil }
