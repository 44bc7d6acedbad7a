"""Pictures, sound, video and faces: files in, arrays out, and one mp4."""
