package testkit_test

import (
	"net"
	"testing"

	"ebox-gateway/internal/testkit"
)

func TestAPortIsNobodyElses(t *testing.T) {
	port := testkit.Port(t)
	if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		c.Close()
		t.Fatal("somebody listens there")
	}
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		testkit.Must(t, err)
		l.Close()
	}
	for range 1000 {
		if testkit.Port(t) == port {
			t.Fatal("it is given twice")
		}
	}
}
