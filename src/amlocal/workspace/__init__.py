"""The workspace service: what the Azure ML client talks to on this machine."""
