"""The local service: starting, finding and stopping its processes."""
