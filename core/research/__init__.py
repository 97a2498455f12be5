"""Questions asked of many runs: audits, sweeps, walk-forward."""
