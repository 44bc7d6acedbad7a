"""What the project promises, measured: a function a goal. Not packaged; nothing that is installed imports it."""
