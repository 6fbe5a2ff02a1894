"""What triggers, selectors, initializers, schedules and strategies have in common."""
