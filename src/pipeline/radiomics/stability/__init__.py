"""How far features hold when a scan, its position or its outline is repeated."""
