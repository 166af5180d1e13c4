"""A simulated plant: pumps with physically sensible faults, seeded, and a publisher that plays them over MQTT."""
