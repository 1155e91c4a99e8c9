"""routes.yaml → a frozen `Config`, or every problem with its position."""
