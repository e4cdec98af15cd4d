"""What the assistant does by itself: one skill a module, its sentences as data, its handlers."""
