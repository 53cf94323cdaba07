"""NWBFile objects in memory, their big arrays deferred to the engine."""
