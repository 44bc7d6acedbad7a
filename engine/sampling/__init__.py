"""From noise to latents: schedules, guidance and the denoising loop."""
