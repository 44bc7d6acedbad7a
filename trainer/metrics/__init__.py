"""What a video or a motion is measured by."""
