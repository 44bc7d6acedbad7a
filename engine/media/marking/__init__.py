"""What says that a video is synthetic: in the pixels, in the container, signed."""
