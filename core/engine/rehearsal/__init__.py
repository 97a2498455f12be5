"""The real engine on virtual time against a hostile exchange: what `cockpit rehearse` runs.

Only here is anything simulated: the wire, the disk, the machine and the market. All between is what trades."""
