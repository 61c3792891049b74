"""One trial of an AutoML node, as a component: its scripts run by themselves, in an environment of their own."""
