// Command product is what a test makes a release of: compiled sooner than the gateway.
package main

var release string

func main() { println("product " + release) }
