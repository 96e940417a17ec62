"""What rooms can do, feature by feature."""
