package main

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"conveyance/internal/observe"
	"conveyance/internal/tenant"
	"conveyance/internal/vendorhttp"
	"conveyance/producers/ingest"
)

func TestOpenBreakersOfAProcessAreSeen(t *testing.T) {
	t.Parallel()
	reg := observe.NewRegistry()
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: vendorhttp.MetricBreaker, Help: "h"}, []string{"vendor", "account"})
	reg.MustRegister(gauge)
	gauge.WithLabelValues("skyslope", "lakeshore/skyslope/main").Set(1)
	gauge.WithLabelValues("skyslope", "redrock/skyslope/main").Set(0)
	gauge.WithLabelValues("followupboss", "").Set(1)
	s, err := observe.Serve(t.Context(), "127.0.0.1:0", reg, nil)
	require.NoError(t, err)
	defer s.Close()
	open, err := askBreakers(t.Context(), "fetch", s.Addr())
	require.NoError(t, err)
	require.ElementsMatch(t, []breakerStatus{
		{"fetch", "skyslope", "lakeshore/skyslope/main"}, {"fetch", "followupboss", ""},
	}, open)
}

func TestAccountsThatAPersonShouldLookAtAreNamedWithTheRemedy(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(-time.Hour)
	a := tenant.Account{Tenant: "lakeshore", Vendor: "skyslope", Name: "main"}
	refused, paused := a, a
	refused.Health = tenant.Health{Refused: true, Cause: "account refused 401", Since: at}
	paused.Paused, paused.PausedAt = true, at
	for _, c := range []struct {
		tenant        tenant.Tenant
		account       tenant.Account
		polled        time.Time
		state, remedy string
	}{
		{tenant.Tenant{}, refused, time.Now(), "refused", "conveyance tenant apply"},
		{tenant.Tenant{ID: "lakeshore", Paused: true, PausedAt: at}, paused, at, "paused", "conveyance tenant resume lakeshore"},
		{tenant.Tenant{}, paused, at, "paused", "conveyance tenant resume lakeshore/skyslope/main"},
		{tenant.Tenant{}, a, at, "silent", "conveyance why lakeshore/skyslope/main"},
		{tenant.Tenant{}, a, time.Now(), "", ""},
		{tenant.Tenant{}, a, time.Time{}, "", ""},
	} {
		s, found := accountState(c.tenant, c.account, c.polled, silentAfter)
		require.Equal(t, c.state != "", found)
		require.Equal(t, c.state, s.State)
		require.Contains(t, s.Remedy, c.remedy)
		if found {
			require.Equal(t, at, s.Since)
		}
	}
}

func TestAlarmsOfTheDoorSayWhatAPersonDoes(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(-time.Hour)
	silent := alarmState(ingest.Alarm{Tenant: "lakeshore", Vendor: "docusign", Account: "main", Kind: ingest.KindSilent, Since: at, Detail: "12 were due"})
	require.Equal(t, accountStatus{
		"lakeshore/docusign/main", "silent", "12 were due", at,
		"conveyance tenant check lakeshore asks the vendor whether it still sends them", "",
	}, silent)
	require.Equal(t, rotated, alarmState(ingest.Alarm{Kind: ingest.KindRotated}).Remedy)
}
