package main

import (
	"fmt"
	"io"

	"conveyance/internal/tenant"
)

type tenantKeyCmd struct{}

// Help is shown by tenant key --help.
func (tenantKeyCmd) Help() string {
	return `Keep it in a file that only the processes read: who loses it has to apply every brokerage anew.

Example: conveyance tenant key > sealing.key`
}

// Run prints a new key. It is written nowhere else.
func (tenantKeyCmd) Run(g *globals) error {
	key, err := tenant.NewSealingKey()
	if err != nil {
		return err
	}
	return g.print(map[string]string{"sealing_key": string(key)}, func(w io.Writer) { _, _ = fmt.Fprintln(w, string(key)) })
}
