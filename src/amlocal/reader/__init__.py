"""From job YAML to frozen dataclasses."""
