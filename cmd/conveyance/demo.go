package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"conveyance/internal/fleet"
	"conveyance/internal/tenant"
)

type demoCmd struct {
	Kill        demoKillCmd   `cmd:"" help:"A process dies in the middle of a call; the effect happens once."`
	Revoke      demoRevokeCmd `cmd:"" help:"One brokerage's credential dies; it waits alone, and flows when the credential is mended."`
	RenameField demoRenameCmd `cmd:"" help:"A vendor renames a field; the deal parks loudly, the mapping is mended, the deal flows."`
}

const (
	here  = "lakeshore" // the brokerage that has the disaster
	there = "redrock"   // the one that must not notice
)

type demoKillCmd struct{}

// Help is shown by demo kill --help.
func (demoKillCmd) Help() string { return "Needs a running up. Example: conveyance demo kill" }

// Run kills the CRM's adapter while the CRM works on its call.
func (demoKillCmd) Run(ctx context.Context, g *globals) error {
	return withStage(ctx, g, func(ctx context.Context, s *stage) error {
		d, err := s.newDeal(ctx, here)
		if err != nil {
			return err
		}
		people, err := s.people(ctx, d)
		if err != nil {
			return err
		}
		person := "/v1/people/" + people[0].ID.String()
		if err := s.fault(ctx, "followupboss", here, "PUT "+person, "slow:2", 1); err != nil {
			return err
		}
		s.say("%s: the CRM will take 2 s for the next change of this buyer", here)
		from, err := s.lastRequest(ctx, "followupboss", here)
		if err != nil {
			return err
		}
		if err := s.put(ctx, d, map[string]any{"status": "Pending"}); err != nil {
			return err
		}
		s.say("%s: the deal goes to Pending in SkySlope", here)
		if err := s.until(ctx, "the call to the CRM", func() (bool, error) {
			n, err := s.calls(ctx, from, "PUT", person)
			return n > 0, err
		}); err != nil {
			return err
		}
		old, err := s.process(ctx, "adapter followupboss")
		if err != nil {
			return err
		}
		killed := time.Now()
		if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
			return fmt.Errorf("killing process %d: %w", old.PID, err)
		}
		s.say("kill -9 of process %d, in the middle of that call", old.PID)
		if err := s.until(ctx, "a new process", func() (bool, error) {
			p, err := s.process(ctx, "adapter followupboss")
			return err == nil && p.PID != old.PID, nil
		}); err != nil {
			return err
		}
		s.say("up started another one after %d ms; it finds a call without an answer, waits until none can still land, and reads back", time.Since(killed).Milliseconds())
		if err := s.until(ctx, "the effect to be settled", func() (bool, error) {
			stands, err := s.personStands(ctx, d, "Under Contract")
			if err != nil || !stands {
				return false, err
			}
			return s.settled(ctx, d)
		}); err != nil {
			return err
		}
		settled := time.Since(killed)
		calls, err := s.calls(ctx, from, "PUT", person)
		if err != nil {
			return err
		}
		return s.verdictOf(ctx, d, "kill", calls == 1, fmt.Sprintf(
			"changed by %d call, settled %.1f s after the kill", calls, settled.Seconds()))
	})
}

type demoRevokeCmd struct{}

// Help is shown by demo revoke --help.
func (demoRevokeCmd) Help() string { return "Needs a running up. Example: conveyance demo revoke" }

// Run revokes one brokerage's CRM key for a while.
func (demoRevokeCmd) Run(ctx context.Context, g *globals) error {
	return withStage(ctx, g, func(ctx context.Context, s *stage) error {
		mine, err := s.newDeal(ctx, here)
		if err != nil {
			return err
		}
		other, err := s.newDeal(ctx, there)
		if err != nil {
			return err
		}
		if err := s.fault(ctx, "followupboss", here, "", "unauthorized", 0); err != nil {
			return err
		}
		s.say("%s: Follow Up Boss refuses the brokerage's key from now on", here)
		for _, d := range []demoDeal{mine, other} {
			if err := s.put(ctx, d, map[string]any{"status": "Pending"}); err != nil {
				return err
			}
			s.say("%s: the deal goes to Pending in SkySlope", d.tenant)
		}
		if err := s.until(ctx, there+"'s stage in the CRM", func() (bool, error) { return s.personStands(ctx, other, "Under Contract") }); err != nil {
			return err
		}
		s.say("%s: stage Under Contract; it notices nothing", there)
		if err := s.until(ctx, "the hold", func() (bool, error) { return s.isHeld(ctx, "followupboss", here, "account refused") }); err != nil {
			return err
		}
		if err := s.tellWhy(ctx, g, here); err != nil {
			return err
		}
		if err := s.clearFaults(ctx); err != nil {
			return err
		}
		mended := time.Now()
		s.say("%s: the key works again; nobody tells Conveyance", here)
		if err := s.until(ctx, here+"'s stage in the CRM", func() (bool, error) { return s.personStands(ctx, mine, "Under Contract") }); err != nil {
			return err
		}
		return s.verdictOf(ctx, mine, "revoke", true, fmt.Sprintf("%s never waited, %s flowed by itself %.1f s after the key was mended", there, here, time.Since(mended).Seconds()))
	})
}

type demoRenameCmd struct{}

// Help is shown by demo rename-field --help.
func (demoRenameCmd) Help() string {
	return "Needs a running up, and edits its tenant file for the length of the demonstration. Example: conveyance demo rename-field"
}

// Run renames SkySlope's status field for one brokerage, and mends the mapping.
func (demoRenameCmd) Run(ctx context.Context, g *globals) error {
	return withStage(ctx, g, func(ctx context.Context, s *stage) error {
		d, err := s.newDeal(ctx, here)
		if err != nil {
			return err
		}
		if err := s.fault(ctx, "skyslope", here, "GET /api/files*", "rename:status=transaction_status", 0); err != nil {
			return err
		}
		s.say("%s: SkySlope calls its field status transaction_status from now on", here)
		if err := s.put(ctx, d, map[string]any{"status": "Pending"}); err != nil {
			return err
		}
		s.say("%s: the deal goes to Pending in SkySlope", here)
		if err := s.until(ctx, "the alarm", func() (bool, error) { return s.isHeldKey(ctx, "translate", d.key) }); err != nil {
			return err
		}
		if err := s.tellWhy(ctx, g, d.key); err != nil {
			return err
		}
		s.say("the mapping is mended: settings {renamed: {transaction_status: status}} in %s's file", here)
		restore, err := s.mend(ctx, g, "{renamed: {transaction_status: status}}")
		if err != nil {
			return err
		}
		defer restore()
		if err := s.pause(ctx, tenant.RefreshAfter); err != nil { // every process sees it within that
			return err
		}
		if err := s.release(ctx, "translate", here); err != nil {
			return err
		}
		released := time.Now()
		s.say("conveyance held release --adapter translate --tenant %s", here)
		if err := s.until(ctx, "the stage in the CRM", func() (bool, error) { return s.personStands(ctx, d, "Under Contract") }); err != nil {
			return err
		}
		applied := time.Since(released)
		s.say("SkySlope calls it status again, and the setting is taken back")
		if err := s.clearFaults(ctx); err != nil {
			return err
		}
		if err := s.pause(ctx, tenant.RefreshAfter); err != nil { // what was read under the new name is through by then
			return err
		}
		return s.verdictOf(ctx, d, "rename-field", true, fmt.Sprintf(
			"parked with the path that broke, and applied %.1f s after the release", applied.Seconds()))
	})
}

// process is the live process of a name.
func (s *stage) process(ctx context.Context, name string) (fleet.Process, error) {
	all, err := fleet.New(s.pool, tenant.Schema).Processes(ctx)
	if err != nil {
		return fleet.Process{}, err
	}
	var newest fleet.Process
	for _, p := range all {
		if p.Name == name && p.Alive && p.UpSince.After(newest.UpSince) {
			newest = p
		}
	}
	if newest.PID == 0 {
		return newest, fmt.Errorf("%s does not run", name)
	}
	return newest, nil
}
