"""Who is told: matchers, namespace globs, time intervals and the route tree. Pure functions, no I/O."""
