package main

import "conveyance/internal/vendorhttp"

// allowed is where accounts may live beside https at public addresses: simulated vendors.
type allowed struct {
	AllowLoopback bool   `env:"CONVEYANCE_ALLOW_LOOPBACK" help:"Let accounts live on this machine: for simulated vendors. An operator's command allows it by itself where up runs here."`
	AllowHost     string `env:"CONVEYANCE_ALLOW_HOST" help:"Let accounts live at this one place in plain HTTP: for simulated vendors in a network of their own." placeholder:"HOST:PORT"`
}

// client is the part of a client's settings that says whom it may reach.
func (a allowed) client() vendorhttp.Config {
	return vendorhttp.Config{AllowLoopback: a.AllowLoopback, AllowHost: a.AllowHost}
}
